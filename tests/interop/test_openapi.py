"""The API's description, by the OpenAPI Initiative's own schema."""

from __future__ import annotations

import copy

import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from checks import verify_by
from servers import Target


def faults(description: dict) -> list[OpenAPIValidationError]:
    return list(OpenAPIV31SpecValidator(description).iter_errors())


@pytest.mark.targets("dev", "tls")
def test_the_description_of_a_running_server_is_valid(target: Target) -> None:
    answer = requests.get(f"{target.endpoint}/openapi.json", verify=verify_by(target), timeout=30)
    assert answer.status_code == 200
    description = answer.json()
    assert [str(fault) for fault in faults(description)] == []
    assert len(description["paths"]) >= 5
    # The validator sees what is wrong: a parameter of a path that the path does not have, an unknown word.
    wrong = copy.deepcopy(description)
    wrong["paths"]["/v1/session/{nowhere}"] = {"post": {"responses": {"200": {}}}}
    wrong["infos"] = {}
    assert len(faults(wrong)) >= 2
