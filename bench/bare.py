"""The yardstick: a Litestar endpoint that decodes and answers the same structs, and does nothing else."""

from uuid import UUID

from litestar import Litestar, post
from litestar.params import JSONBody

from churn.domain.employee import FEATURES, Employee
from churn.domain.prediction import Risk
from churn.wire import Contribution, PredictionAnswer

ANSWER = PredictionAnswer(
    prediction=1,
    probability=0.8914324372618425,
    message="Risque de départ élevé",
    id=UUID(int=0x01A20FBC8B6B71EFA30F898C7722CD00),
    threshold=0.2543256743242356,
    risk=Risk.HIGH,
    model_version="2026-01-01-0123456789",
    intercept=-1.8324372618425923,
    contributions=tuple(
        Contribution(feature, 1.0, 0.3123456789012345, "Revenu mensuel : augmente le risque") for feature in FEATURES
    ),
    warnings=(),
)


@post("/predict", status_code=200)
async def predict(data: JSONBody[Employee]) -> PredictionAnswer:
    return ANSWER


app = Litestar([predict], openapi_config=None, logging_config=None)
