"""Why a probability is what it is, and what would lower it, in words."""

import math

import pytest
from msgspec.structs import replace

from churn.adapters.memory import MemoryPredictor
from churn.domain.employee import FEATURES, Employee, Overtime
from churn.domain.explanation import LABELS, NEGLIGIBLE, explain
from churn.domain.language import Language
from churn.domain.prediction import ModelInfo, Score
from churn.domain.what_if import CAVEAT, what_if

EMPLOYEE = Employee(
    age=30,
    monthly_income=3000,
    commute_distance=20,
    environment_satisfaction=2,
    overtime=Overtime.YES,
    years_since_promotion=1,
    work_life_balance=3,
    stock_option_level=1,
    years_in_role=2,
    years_at_company=3,
    total_working_years=8,
)
MODEL = ModelInfo(version="v", threshold=0.5, base_rate=0.161, ranges=((0.0, 1.0),) * len(FEATURES), intercept=-1.0)


def explore(employee, predictor):
    return what_if(employee, predictor.info, predictor.predict)


def by_lever(employee, predictor=None):
    """The changes that are offered, by feature."""
    return {change.feature: change for change in explore(employee, predictor or MemoryPredictor()).changes}


class TestExplain:
    CONTRIBUTIONS = (0.1, -0.7, 0.0, 0.2, 0.9, NEGLIGIBLE / 2, -0.3, 0.4, -0.5, 0.6, -0.8)

    @pytest.mark.parametrize(
        ("language", "sentences"),
        [
            (
                Language.FR,
                (
                    "Heures supplémentaires : augmente le risque",
                    "Expérience totale : diminue le risque",
                    "Distance domicile-travail : ne change presque rien au risque",
                ),
            ),
            (
                Language.EN,
                (
                    "Overtime: raises the risk",
                    "Total work experience: lowers the risk",
                    "Commute distance: hardly changes the risk",
                ),
            ),
        ],
    )
    def test_each_factor_has_a_sentence(self, language, sentences):
        """Largest contribution first, whichever its sign, each with its direction in words."""
        factors = explain(Score(0.5, self.CONTRIBUTIONS), MODEL, language).factors
        sizes = [abs(factor.contribution) for factor in factors]
        assert sizes == sorted(sizes, reverse=True)
        assert {factor.feature for factor in factors} == set(FEATURES)
        assert (factors[0].sentence, factors[1].sentence, factors[-1].sentence) == sentences

    def test_the_baseline_is_that_of_the_population(self):
        """The share of the training population that left is told as a number and in words."""
        french = explain(Score(0.5, self.CONTRIBUTIONS), MODEL, Language.FR)
        english = explain(Score(0.5, self.CONTRIBUTIONS), MODEL, Language.EN)
        assert french.base_rate == english.base_rate == 0.161
        assert french.baseline == "Dans la population d'apprentissage, 16 % des employés sont partis."
        assert english.baseline == "In the training population, 16% of employees left."

    def test_a_model_that_does_not_explain_itself_has_no_factors(self):
        """Without contributions there is the baseline, and nothing is made up."""
        explanation = explain(Score(0.5, None), MODEL, Language.FR)
        assert explanation.factors == ()
        assert explanation.base_rate == MODEL.base_rate

    def test_every_feature_has_a_name_in_every_language(self):
        """No feature is shown by its wire name for want of a label."""
        for language in Language:
            assert tuple(LABELS[language]) == FEATURES
            assert all(LABELS[language].values())


class TestWhatIf:
    def test_every_change_lowers_the_probability_it_gives(self):
        """Each change, made, has exactly the probability that was promised, below the present one."""
        predictor = MemoryPredictor()
        result = explore(EMPLOYEE, predictor)
        names = {
            "heures_supp": "overtime",
            "satisfaction_equilibre": "work_life_balance",
            "satisfaction_environnement": "environment_satisfaction",
            "distance_domicile_travail": "commute_distance",
            "revenu_mensuel": "monthly_income",
        }
        assert {change.feature for change in result.changes} == set(names)
        assert result.probability == predictor.predict(EMPLOYEE).probability
        assert result.threshold == predictor.info.threshold
        assert result.model_version == predictor.info.version
        for change in result.changes:
            changed = replace(EMPLOYEE, **{names[change.feature]: change.value})
            assert change.probability == predictor.predict(changed).probability < result.probability
            assert change.below_threshold == (change.probability < result.threshold)
            assert change.current == getattr(EMPLOYEE, names[change.feature])

    def test_the_best_change_comes_first(self):
        """Changes that undo the classification come first, then the lowest probability."""
        changes = explore(EMPLOYEE, MemoryPredictor(threshold=0.25)).changes
        keys = [(not change.below_threshold, change.probability) for change in changes]
        assert keys == sorted(keys)
        assert changes[0].feature == "heures_supp"

    def test_the_smallest_change_that_suffices_is_offered(self):
        """Of several changes by one lever that undo the classification, the smallest is named."""
        predictor = MemoryPredictor()
        one_level = predictor.predict(replace(EMPLOYEE, environment_satisfaction=3)).probability
        probability = predictor.predict(EMPLOYEE).probability
        lenient = MemoryPredictor(threshold=(one_level + probability) / 2)
        assert by_lever(EMPLOYEE, lenient)["satisfaction_environnement"].value == 3
        assert by_lever(EMPLOYEE, MemoryPredictor(threshold=0.01))["satisfaction_environnement"].value == 4

    def test_an_employee_not_at_risk_is_offered_the_strongest_change(self):
        """Below the threshold there is nothing to undo: the change that lowers the risk most is named."""
        changes = by_lever(EMPLOYEE, MemoryPredictor(threshold=0.99))
        assert changes["satisfaction_environnement"].value == 4
        assert changes["revenu_mensuel"].value == pytest.approx(1.2 * EMPLOYEE.monthly_income)

    def test_what_cannot_be_improved_is_not_offered(self):
        """An employee with the best of everything is offered nothing; no raise exceeds the bound of an income."""
        content = replace(
            EMPLOYEE,
            overtime=Overtime.NO,
            work_life_balance=4,
            environment_satisfaction=4,
            commute_distance=0,
            monthly_income=10_000_000,
        )
        assert by_lever(content) == {}

    def test_equal_probabilities_give_the_smallest_change(self):
        """A change that goes further for nothing is not offered."""

        def score(employee: Employee) -> Score:
            return Score(0.9 if employee.commute_distance > 15 else 0.8, None)

        (change,) = what_if(EMPLOYEE, MODEL, score).changes
        assert change.value == 14.0
        assert not change.below_threshold

    @pytest.mark.parametrize(
        ("language", "sentences"),
        [
            (
                Language.FR,
                {"Heures supplémentaires : non au lieu de oui", "Revenu mensuel : 3\u202f600 au lieu de 3\u202f000"},
            ),
            (Language.EN, {"Overtime: no instead of yes", "Monthly income: 3,600 instead of 3,000"}),
        ],
    )
    def test_a_change_is_told_in_words(self, language, sentences):
        """The lever, the new value and the present one, as numbers are written in the language."""
        changes = by_lever(EMPLOYEE, MemoryPredictor(threshold=0.01)).values()
        assert sentences <= {change.sentence(language) for change in changes}

    def test_the_answer_promises_nothing(self):
        """There is a caveat in every language: levers are not causes."""
        assert "promesses" in CAVEAT[Language.FR]
        assert "promises" in CAVEAT[Language.EN]

    def test_it_is_about_this_model(self):
        """The probabilities are those of the model's own log-odds."""
        predictor = MemoryPredictor()
        score = predictor.predict(EMPLOYEE)
        logit = predictor.info.intercept + sum(score.contributions)
        assert by_lever(EMPLOYEE)["heures_supp"].probability == pytest.approx(1 / (1 + math.exp(1.4 - logit)))
