"""What a process loads is what it needs."""

import subprocess
import sys


def test_the_service_goes_without_what_scores_files() -> None:
    """Serving imports neither polars nor the trainer, nor does the command line before it is told to score."""
    program = (
        "import sys, churn.cli, churn.http.app\n"
        "from churn.container import build_container\n"
        "from churn.settings import read_settings\n"
        "build_container(read_settings({'CHURN_DATABASE_URL': 'postgresql+asyncpg://x@127.0.0.1/x'})).predict_attrition()\n"
        "print(*sorted({'polars', 'dask', 'distributed', 'fsspec', 'interpret', 'pandas'} & sys.modules.keys()))\n"
    )
    # Isolated from the packages of a developer, of which scikit-learn takes pandas up by itself.
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) <= {"pandas"}


def test_a_glass_box_is_served_without_scikit_learn() -> None:
    """A service whose model explains itself imports neither scikit-learn nor scipy, which take a second to."""
    program = (
        "import sys, churn.http.app\n"
        "from churn.adapters.joblib_model.predictor import load_predictor\n"
        "from tests.builders import employee\n"
        "assert load_predictor('models').predict(employee()).contributions\n"
        "print(*sorted({'sklearn', 'scipy'} & sys.modules.keys()))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
