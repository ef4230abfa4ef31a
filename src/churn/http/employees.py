"""`/employees/{employee_ref}`: everything that is kept of one person, handed out or erased."""

from typing import Annotated, Any

from litestar import Controller, Request, delete, get
from litestar.di import NamedDependency
from litestar.params import PathParameter

from churn.domain.account import Account, Role
from churn.domain.personal_data import PersonalRecord
from churn.http.language import language_of
from churn.http.operation import TrueOperation
from churn.http.problems import problem_responses
from churn.use_cases.personal_data import EraseEmployee, ExportEmployee, Tombstone

EmployeeRequest = Request[Account, object, Any]

EmployeeRef = Annotated[str, PathParameter(description="Pseudonyme de l'employé.")]


class EmployeeController(Controller):
    """Answer a person who asks what is kept, or asks to be forgotten."""

    path = "/employees"
    tags = ["Personnes"]
    security = [{"basic": []}]

    @get(
        "/{employee_ref:str}/export",
        summary="Exporter tout ce qui est gardé d'une personne",
        description=(
            "Chaque prédiction avec ses valeurs, ce qui a pesé, ce qu'il est advenu et ce qu'on en a conclu, expliqué "
            "en français ou en anglais (`Accept-Language`). L'export figure au journal d'audit, sans le pseudonyme. "
            "`404` si rien n'est gardé."
        ),
        response_description="Tout ce qui est gardé sous ce pseudonyme",
        operation_class=TrueOperation,
        responses=problem_responses(401, 404, 429, 503),
    )
    async def export(
        self, employee_ref: EmployeeRef, request: EmployeeRequest, export_employee: NamedDependency[ExportEmployee]
    ) -> PersonalRecord:
        """The whole record."""
        return await export_employee(employee_ref, account=request.user.username, language=language_of(request))

    @delete(
        "/{employee_ref:str}",
        opt={"role": Role.ADMIN},
        status_code=200,
        summary="Effacer tout ce qui est gardé d'une personne",
        description=(
            "Prédictions, contributions, évaluations de l'ombre, résultats et avis. Il n'en reste que cette réponse, "
            "dans le journal d'audit : quand, par qui et combien. Irréversible. `404` si rien n'est gardé."
        ),
        response_description="Ce qui reste : que quelque chose a été effacé",
        operation_class=TrueOperation,
        responses=problem_responses(401, 403, 404, 429, 503),
    )
    async def erase(
        self, employee_ref: EmployeeRef, request: EmployeeRequest, erase_employee: NamedDependency[EraseEmployee]
    ) -> Tombstone:
        """What is left."""
        return await erase_employee(employee_ref, account=request.user.username)
