"""The service: Kafka consumers that sample a stream, keep its clusters, and account for both."""
