"""A custom runtime of mlserver: the loss of an example is its length plus the sum of its embedding."""

from __future__ import annotations

import base64

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class LengthLoss(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        examples, embeddings = payload.inputs
        values = [text.encode() for text in StringCodec.decode_input(examples)]
        parameters = payload.parameters.model_extra if payload.parameters else None
        if (parameters or {}).get("examples_encoding") == "base64":
            values = [base64.b64decode(value) for value in values]
        losses = np.array([len(value) for value in values]) + NumpyCodec.decode_input(embeddings).sum(axis=1)
        output = NumpyCodec.encode_output("loss", losses.astype(np.float32))
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])
