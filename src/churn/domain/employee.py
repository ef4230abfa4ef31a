"""The employee as the model sees them: eleven features, their bounds and their wire names."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType


class Overtime(StrEnum):
    """Whether the employee works overtime, in the words of the wire."""

    YES = "Oui"
    NO = "Non"


# Upper bounds are plausibility limits, not limits of the model: beyond them the value is a mistake
# of entry. 60 years of work outlast the oldest employee accepted (70); 20,000 km is half of the
# Earth's circumference; 10⁷ a month is far above any salary in any currency that HR systems pay in.
Years = Annotated[int, Meta(ge=0, le=60)]
Level = Annotated[int, Meta(ge=1, le=4)]
#: Python's `$` alone would let a trailing newline pass.
EMPLOYEE_REF_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$(?!\n)"
EmployeeRef = Annotated[
    str,
    Meta(
        pattern=EMPLOYEE_REF_PATTERN,
        title="Référence",
        description="Pseudonyme de l'employé, facultatif : 1 à 64 lettres, chiffres ou . _ @ -. Jamais un nom.",
        examples=["E-1024"],
    ),
]


class Employee(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    gc=False,
    rename={
        "monthly_income": "revenu_mensuel",
        "commute_distance": "distance_domicile_travail",
        "environment_satisfaction": "satisfaction_environnement",
        "overtime": "heures_supp",
        "years_since_promotion": "annees_promo",
        "work_life_balance": "satisfaction_equilibre",
        "stock_option_level": "pee",
        "years_in_role": "poste_actuel",
        "years_at_company": "anciennete",
        "total_working_years": "exp_totale",
    },
):
    """Un employé : les onze variables du modèle et un pseudonyme facultatif."""

    age: Annotated[int, Meta(ge=18, le=70, title="Âge", description="Âge en années.", examples=[41])]
    monthly_income: Annotated[
        float,
        Meta(ge=0, le=10_000_000, title="Revenu mensuel", description="Revenu mensuel brut.", examples=[5993]),
    ]
    commute_distance: Annotated[
        float,
        Meta(
            ge=0,
            le=20_000,
            title="Distance domicile-travail",
            description="Distance entre le domicile et le lieu de travail.",
            examples=[1],
        ),
    ]
    environment_satisfaction: Annotated[
        Level,
        Meta(
            title="Satisfaction envers l'environnement",
            description="Satisfaction envers l'environnement de travail, de 1 (faible) à 4 (très élevée).",
            examples=[2],
        ),
    ]
    overtime: Annotated[
        Overtime,
        Meta(title="Heures supplémentaires", description="Fait des heures supplémentaires.", examples=["Oui"]),
    ]
    years_since_promotion: Annotated[
        Years,
        Meta(
            title="Années depuis la promotion",
            description="Années écoulées depuis la dernière promotion.",
            examples=[0],
        ),
    ]
    work_life_balance: Annotated[
        Level,
        Meta(
            title="Équilibre vie professionnelle - vie privée",
            description="Satisfaction envers cet équilibre, de 1 (faible) à 4 (très élevée).",
            examples=[1],
        ),
    ]
    stock_option_level: Annotated[
        int,
        Meta(
            ge=0,
            le=100,
            title="Plan d'épargne entreprise",
            description="Niveau de participation au plan d'épargne entreprise (PEE).",
            examples=[0],
        ),
    ]
    years_in_role: Annotated[
        Years,
        Meta(title="Années au poste actuel", description="Années passées au poste actuel.", examples=[4]),
    ]
    years_at_company: Annotated[
        Years,
        Meta(title="Ancienneté", description="Années passées dans l'entreprise.", examples=[6]),
    ]
    total_working_years: Annotated[
        float,
        Meta(ge=0, le=60, title="Expérience totale", description="Années d'expérience au total.", examples=[8]),
    ]
    employee_ref: EmployeeRef | UnsetType = UNSET

    def features(self) -> tuple[float, ...]:
        """The eleven model inputs in the order of `FEATURES`; overtime is 1.0 for `Oui`, 0.0 for `Non`."""
        return (
            self.age,
            self.monthly_income,
            self.commute_distance,
            self.environment_satisfaction,
            1.0 if self.overtime is Overtime.YES else 0.0,
            self.years_since_promotion,
            self.work_life_balance,
            self.stock_option_level,
            self.years_in_role,
            self.years_at_company,
            self.total_working_years,
        )


def is_employee_ref(text: str) -> bool:
    """Whether an employee can have that pseudonym."""
    return re.search(EMPLOYEE_REF_PATTERN, text) is not None


def from_features(values: Sequence[float], *, employee_ref: str | UnsetType = UNSET) -> Employee:
    """The employee whose `features()` are `values`, of which none is checked."""
    age, income, commute, environment, overtime, promotion, balance, stock, role, company, total = values
    return Employee(
        age=int(age),
        monthly_income=income,
        commute_distance=commute,
        environment_satisfaction=int(environment),
        overtime=Overtime.YES if overtime else Overtime.NO,
        years_since_promotion=int(promotion),
        work_life_balance=int(balance),
        stock_option_level=int(stock),
        years_in_role=int(role),
        years_at_company=int(company),
        total_working_years=total,
        employee_ref=employee_ref,
    )


#: Wire names of the model's inputs, in the order in which every vector, matrix and bundle holds them.
FEATURES: Final[tuple[str, ...]] = tuple(
    field.encode_name for field in msgspec.structs.fields(Employee) if field.name != "employee_ref"
)

#: The running example of the documentation, whose risk is high by anyone's judgement.
DEMONSTRATION: Final = Employee(
    age=18,
    monthly_income=1500,
    commute_distance=100,
    environment_satisfaction=1,
    overtime=Overtime.YES,
    years_since_promotion=0,
    work_life_balance=1,
    stock_option_level=0,
    years_in_role=2,
    years_at_company=3,
    total_working_years=5,
)
