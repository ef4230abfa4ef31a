"""The design that churn started from, rebuilt for the comparison; it imports nothing of churn.

FastAPI and pydantic; HTTP Basic with bcrypt at cost 12, verified each time; synchronous SQLAlchemy with a commit per
request; scikit-learn on a DataFrame of one row.
"""

import os
from typing import Annotated, Literal

import bcrypt
import joblib
import pandas as pd
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel, Field
from sqlalchemy import JSON, Float, String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = create_engine(os.environ["ORIGINAL_DATABASE_URL"])
model = joblib.load(os.environ["ORIGINAL_MODEL"])


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "original_user"
    username: Mapped[str] = mapped_column(String, primary_key=True)
    password: Mapped[bytes]


class Stored(Base):
    __tablename__ = "original_prediction"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    employee: Mapped[dict] = mapped_column(JSON)
    probability: Mapped[float] = mapped_column(Float)


class Employee(BaseModel):
    age: int = Field(ge=18, le=70)
    revenu_mensuel: float = Field(ge=0)
    distance_domicile_travail: float = Field(ge=0)
    satisfaction_environnement: int = Field(ge=1, le=4)
    heures_supp: Literal["Oui", "Non"]
    annees_promo: int = Field(ge=0)
    satisfaction_equilibre: int = Field(ge=1, le=4)
    pee: int = Field(ge=0)
    poste_actuel: int = Field(ge=0)
    anciennete: int = Field(ge=0)
    exp_totale: float = Field(ge=0)


Base.metadata.create_all(engine)
with Session(engine) as session:
    session.merge(
        User(username="admin", password=bcrypt.hashpw(os.environ["ORIGINAL_PASSWORD"].encode(), bcrypt.gensalt(12)))
    )
    session.commit()

app = FastAPI()


def user(credentials: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> str:
    with Session(engine) as session:
        found = session.get(User, credentials.username)
    if found is None or not bcrypt.checkpw(credentials.password.encode(), found.password):
        raise HTTPException(401)
    return found.username


@app.post("/predict")
def predict(employee: Employee, username: Annotated[str, Depends(user)]) -> dict[str, float | int]:
    values = employee.model_dump()
    row = pd.DataFrame([values | {"heures_supp": int(employee.heures_supp == "Oui")}])
    probability = float(model.predict_proba(row)[0, 1])
    with Session(engine) as session:
        session.add(Stored(username=username, employee=values, probability=probability))
        session.commit()
    return {"prediction": int(probability > 0.25), "probability": probability}


@app.get("/ready")
def ready() -> None:
    pass
