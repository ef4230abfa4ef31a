"""How fast the model is: `make bench-model`.

Each figure is the best of several runs, in processor time: what else the machine does can only slow it down.
"""

import sys
import time
import timeit

import numpy as np

from churn.adapters.joblib_model.predictor import load_predictor
from churn.domain.employee import FEATURES, Employee, Overtime
from churn.settings import read_settings

MAX_SINGLE_MICROSECONDS = 20.0
MIN_ROWS_PER_SECOND = 2_000_000
ROWS = 1_000_000
RUNS = 7


def employees(ranges, count, random):
    rows = np.column_stack([random.integers(int(low), int(high) + 1, count) for low, high in ranges])
    fields = [field for field in Employee.__struct_fields__ if field != "employee_ref"]
    for row in rows.tolist():
        values = dict(zip(fields, row, strict=True))
        values["overtime"] = Overtime.YES if values["overtime"] else Overtime.NO
        yield Employee(**values)


def best(call):
    return min(timeit.repeat(call, timer=time.process_time, number=1, repeat=RUNS))


def main() -> int:
    random = np.random.default_rng(0)
    settings = read_settings({})
    predictor = load_predictor(settings.models_dir)

    singles = list(employees(predictor.info.ranges, 10_000, random))
    seconds = best(lambda: [predictor.predict(employee) for employee in singles])
    single = seconds / len(singles) * 1e6

    low, high = np.array(predictor.info.ranges).T
    # Whole numbers, as the training data are, and a tenth beyond either end of the range.
    margin = (high - low) / 10
    matrix = np.round(random.uniform(low - margin, high + margin, (ROWS, len(FEATURES))))
    rate = ROWS / best(lambda: predictor.predict_matrix(matrix))

    print(f"model {predictor.info.version}")
    print(f"single prediction with contributions: {single:.2f} µs, at most {MAX_SINGLE_MICROSECONDS:.0f}")
    print(f"batch with contributions, one core: {rate:,.0f} rows/s, at least {MIN_ROWS_PER_SECOND:,}")
    return 0 if single <= MAX_SINGLE_MICROSECONDS and rate >= MIN_ROWS_PER_SECOND else 1


if __name__ == "__main__":
    sys.exit(main())
