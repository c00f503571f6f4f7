"""Verifies from the topics alone that nothing was lost, repeated, changed, or weighted wrongly."""

from __future__ import annotations

from consumers.audit.report import AuditReport
from consumers.audit.topics import audit

__all__ = ["AuditReport", "audit"]
