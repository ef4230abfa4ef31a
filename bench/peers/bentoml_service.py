"""BentoML's own way to serve a scikit-learn model: a service with one endpoint, as its documentation has it."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service
class Attrition:
    """No account, no history."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["PEER_MODEL"])

    @bentoml.api
    def predict(self, features: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(features)
