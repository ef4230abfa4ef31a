"""A scikit-learn model of the 11 features, fitted by the environment that is to serve it: `python fit.py FILE`."""

import sys

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

NAMES = ["age", "revenu_mensuel", "distance_domicile_travail", "satisfaction_environnement", "heures_supp",
         "annees_promo", "satisfaction_equilibre", "pee", "poste_actuel", "anciennete", "exp_totale"]  # fmt: skip

random = np.random.default_rng(0)
features = random.normal(size=(1500, len(NAMES)))
classes = (features[:, 0] + random.normal(size=1500) > 1).astype(int)
model = make_pipeline(StandardScaler(), LogisticRegression())
if "--frame" in sys.argv:
    import pandas as pd

    model.fit(pd.DataFrame(features, columns=NAMES), classes)
else:
    model.fit(features, classes)
joblib.dump(model, sys.argv[1])
