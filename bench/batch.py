"""How fast a whole workforce is scored, and in how much memory: `make bench-batch`.

Everything is a process of its own, from its start to its end, on one file of made-up employees, CSV to CSV:

- `churn`: `churn score` with three reasons;
- `pandas`: `read_csv`, the same estimator's `predict_proba` and `contributions`, the same three reasons and message by
  numpy, `to_csv` of the same columns. No row is checked, as it is in `churn`;
- `pandas, no reasons`: `read_csv`, `predict_proba`, `to_csv` of the columns with probability and prediction alone,
  against `churn` with `--reasons 0`.

Rounds alternate, and a ratio is that of two runs of one round. The memory is the largest of a process.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MAX_SECONDS = 5.0
MIN_RATIO = 3.0
MAX_MEGABYTES = 500
#: Rows written at once.
BLOCK = 100_000

COLUMNS = (
    "employee_ref,service,age,revenu_mensuel,distance_domicile_travail,satisfaction_environnement,heures_supp,"
    "annees_promo,satisfaction_equilibre,pee,poste_actuel,anciennete,exp_totale"
)


def write(path: Path, rows: int) -> None:
    """A file of `rows` employees, always the same ones."""
    random = np.random.default_rng(0)
    services = np.array(["Ventes", "R&D", "Ressources humaines", "Production"])
    with path.open("w", encoding="utf-8") as file:
        file.write(COLUMNS + "\n")
        for start in range(0, rows, BLOCK):
            count = min(BLOCK, rows - start)
            whole = [random.integers(low, high + 1, count) for low, high in RANGES]
            whole[4] = np.where(random.random(count) < 0.3, "Oui", "Non")
            service = services[random.integers(0, 4, count)]
            for number, row in enumerate(zip(service, *whole, strict=True), start=start):
                file.write(f"E-{number},{','.join(map(str, row))}\n")


#: Of each feature, in order.
RANGES = ((18, 60), (1000, 20000), (1, 30), (1, 4), (0, 1), (0, 15), (1, 4), (0, 3), (0, 18), (0, 40), (0, 40))


def pandas(source: str, target: str, *, reasons: bool) -> None:
    """What one would write without `churn score`."""
    import pandas as pd  # noqa: PLC0415

    from churn.adapters.joblib_model.bundle import active_version, load_bundle, trusted_manifests  # noqa: PLC0415
    from churn.domain.employee import FEATURES  # noqa: PLC0415
    from churn.domain.explanation import sentence  # noqa: PLC0415
    from churn.domain.language import Language  # noqa: PLC0415
    from churn.domain.prediction import RISK_MESSAGES, Risk  # noqa: PLC0415
    from churn.settings import read_settings  # noqa: PLC0415

    models = Path(read_settings({}).models_dir)
    bundle = load_bundle(models, active_version(models), trusted=trusted_manifests(models))
    model = bundle.manifest.info()
    frame = pd.read_csv(source)
    features = frame[list(FEATURES)].assign(heures_supp=frame["heures_supp"] == "Oui").to_numpy(dtype=np.float64)
    probability = bundle.estimator.predict_proba(features)[:, 1]
    frame["prediction"] = (probability >= model.threshold).astype(np.int8)
    frame["probability"] = probability
    if reasons:
        risk = frame["prediction"].to_numpy() + (probability > model.base_rate)
        frame["message"] = np.array([RISK_MESSAGES[Language.FR][r] for r in (Risk.LOW, Risk.MODERATE, Risk.HIGH)])[risk]
        shares = bundle.estimator.contributions(features)
        strongest = np.argsort(-np.abs(shares), axis=1, kind="stable")[:, :3]
        sentences = np.array([[sentence(f, sign, Language.FR) for sign in (-1.0, 1.0)] for f in FEATURES])
        for n in range(3):
            raises = np.take_along_axis(shares, strongest[:, n : n + 1], axis=1)[:, 0] > 0
            frame[f"reason_{n + 1}"] = sentences[strongest[:, n], raises.astype(int)]
        low, high = np.array(model.ranges).T
        outside = ((features < low) | (features > high)).any(axis=1)
        frame["warnings"] = np.where(outside, "Hors de la plage d'apprentissage", None)
        frame["model_version"] = model.version
    frame.to_csv(target, index=False)


def run(*words: str) -> tuple[float, float, float]:
    """Seconds from start to end of a process, seconds of processor in it, and the most megabytes it had in memory."""
    # `churn` leaves nothing in the disk's cache, pandas everything, and whoever comes next would wait for it.
    os.sync()
    started = time.monotonic()
    pid = os.posix_spawn(
        words[0],
        words,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - started
    if status:
        sys.exit(f"{' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=10_000_000, help="rows of the file for memory alone; 0: none")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--baseline", nargs=3, metavar=("SOURCE", "TARGET", "REASONS"), help=argparse.SUPPRESS)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has what serving needs, for churn")
    arguments = parser.parse_args()
    churn = (arguments.python, "-c", "from churn.cli import main; main()", "score")
    baseline = (sys.executable, "-m", "bench.batch", "--baseline")
    if arguments.baseline:
        source, target, reasons = arguments.baseline
        pandas(source, target, reasons=reasons == "1")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        source, target = str(Path(folder) / "staff.csv"), str(Path(folder) / "answers.csv")
        write(Path(source), arguments.rows)
        contenders = {
            "churn": (*churn, source, "--out", target),
            "pandas": (*baseline, source, target, "1"),
            "churn, no reasons": (*churn, source, "--out", target, "--reasons", "0"),
            "pandas, no reasons": (*baseline, source, target, "0"),
        }
        results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in contenders}
        for _ in range(arguments.rounds):
            for name, words in contenders.items():
                results[name].append(run(*words))
        for name, runs in results.items():
            seconds, processor, megabytes = zip(*runs, strict=True)
            rate = arguments.rows / statistics.median(seconds)
            print(
                f"{name:<20}{arguments.rows:>12,} rows  {statistics.median(seconds):6.2f} s (best {min(seconds):.2f})"
                f"  {rate:>10,.0f} rows/s  {min(processor):6.2f} s of processor  {max(megabytes):6.0f} MB"
            )
        ratios = {}
        for ours, theirs in (("churn", "pandas"), ("churn, no reasons", "pandas, no reasons")):
            pairs = zip(results[theirs], results[ours], strict=True)
            each = sorted(slow[0] / fast[0] for slow, fast in pairs)
            ratios[ours] = statistics.median(each)
            goal = f", at least {MIN_RATIO}" if ours == "churn" else ""
            print(f"{theirs} / {ours}: {ratios[ours]:.2f}, from {each[0]:.2f} to {each[-1]:.2f}{goal}")
        memory = max(one[2] for one in results["churn"])
        if arguments.large:
            write(Path(source), arguments.large)
            seconds, processor, megabytes = run(*churn, source, "--out", target)
            print(
                f"{'churn':<20}{arguments.large:>12,} rows  {seconds:6.2f} s"
                f"  {processor:6.2f} s of processor  {megabytes:6.0f} MB"
            )
            memory = max(memory, megabytes)
        best = min(one[0] for one in results["churn"])
        print(f"at most {MAX_SECONDS} s for a million rows, at most {MAX_MEGABYTES} MB")
        fast = best * 1_000_000 / arguments.rows <= MAX_SECONDS
        return 0 if fast and ratios["churn"] >= MIN_RATIO and memory <= MAX_MEGABYTES else 1


if __name__ == "__main__":
    sys.exit(main())
