"""The evaluator that other tests lean on decides as IAM does."""

from __future__ import annotations

import pytest

from tests.cdk.policies import (
    Call,
    UnknownPolicyError,
    effect_of,
    is_allowed,
    resolve,
    statements_in,
)

OBJECT = "arn:aws:s3:::data/a/b.txt"
GET = Call("s3:GetObject", OBJECT)


def allow(action="s3:GetObject", resource=OBJECT, effect="Allow", **condition):
    statement = {"Effect": effect, "Action": action, "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


def test_what_no_statement_allows_is_denied():
    assert not is_allowed(GET, [])
    assert not is_allowed(GET, [allow(action="s3:PutObject")])
    assert not is_allowed(GET, [allow(resource="arn:aws:s3:::other/*")])


def test_an_explicit_denial_wins_wherever_it_stands():
    denial = allow(effect="Deny")
    assert not is_allowed(GET, [allow(), denial])
    assert not is_allowed(GET, [allow()], resource_policy=[denial])
    assert not is_allowed(GET, [allow()], boundary=[allow(action="*", resource="*"), denial])


def test_a_boundary_allows_nothing_by_itself_and_limits_what_is_allowed():
    assert not is_allowed(GET, [], boundary=[allow()])
    assert not is_allowed(GET, [allow()], boundary=[])
    assert is_allowed(GET, [allow()], boundary=[allow(action="s3:Get*")])


@pytest.mark.parametrize(
    ("action", "matches"),
    [("s3:getobject", True), ("s3:Get*", True), ("s3:?etObject", True), ("s3:Get", False)],
)
def test_actions_match_with_wildcards_and_without_regard_to_case(action, matches):
    assert is_allowed(GET, [allow(action=action)]) is matches


def test_resources_match_with_wildcards_over_slashes_and_with_regard_to_case():
    assert is_allowed(GET, [allow(resource="arn:aws:s3:::data/*")])
    assert is_allowed(GET, [allow(resource="arn:aws:s3:::*/b.txt")])
    assert not is_allowed(GET, [allow(resource="arn:aws:s3:::DATA/*")])
    assert not is_allowed(GET, [allow(resource="arn:aws:s3:::data")])


def test_not_action_and_not_resource_are_about_everything_else():
    denial = {"Effect": "Deny", "NotAction": "s3:Get*", "NotResource": "arn:aws:s3:::data/c/*"}
    assert effect_of(Call("s3:PutObject", OBJECT), [denial]) == "Deny"
    assert effect_of(GET, [denial]) is None
    assert effect_of(Call("s3:PutObject", "arn:aws:s3:::data/c/d"), [denial]) is None


@pytest.mark.parametrize(
    ("operator", "expected", "given", "holds"),
    [
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", "a", "A", False),
        ("StringLike", "x/*", "x/y", True),
        ("StringLike", "x/*", "z", False),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringNotLike", "x/*", "x/y", False),
        ("ArnLike", "arn:aws:iam::1:role/a-*", "arn:aws:iam::1:role/a-b", True),
        ("ArnLike", "arn:aws:*:role/a", "arn:aws:iam::1:role/a", False),
        ("ArnEquals", "arn:aws:budgets::1:*", "arn:aws:budgets::1:budget/x", True),
        ("ArnNotLike", "arn:aws:iam::1:role/a-*", "arn:aws:iam::1:role/b", True),
        ("Bool", "true", "True", True),
        ("Bool", "true", "false", False),
        ("NumericLessThan", "1.2", "1.1", True),
        ("NumericLessThan", "1.2", "1.2", False),
        ("ForAnyValue:StringEquals", "a", ["b", "a"], True),
        ("ForAnyValue:StringEquals", "a", ["b"], False),
        ("ForAllValues:StringEquals", ["a", "b"], ["b", "a"], True),
        ("ForAllValues:StringEquals", "a", ["b", "a"], False),
        ("Null", "false", "anything", True),
        ("Null", "true", "anything", False),
    ],
)
def test_a_condition_on_a_key_that_is_there(operator, expected, given, holds):
    call = Call("s3:GetObject", OBJECT, {"Some:Key": given})
    assert is_allowed(call, [allow(**{operator: {"some:key": expected}})]) is holds


@pytest.mark.parametrize(
    ("operator", "holds"),
    [
        ("StringEquals", False),
        ("StringNotEquals", True),  # a negated operator holds where there is nothing
        ("StringEqualsIfExists", True),
        ("ArnLike", False),
        ("ForAnyValue:StringEquals", False),
        ("ForAllValues:StringEquals", True),
    ],
)
def test_a_condition_on_a_key_that_is_absent(operator, holds):
    assert is_allowed(GET, [allow(**{operator: {"some:key": "a"}})]) is holds


def test_null_asks_whether_the_key_is_there():
    assert is_allowed(GET, [allow(Null={"some:key": "true"})])
    assert not is_allowed(GET, [allow(Null={"some:key": "false"})])


def test_all_conditions_of_a_statement_have_to_hold():
    both = allow(StringEquals={"k:a": "1", "k:b": "2"}, Bool={"k:c": "true"})
    context = {"k:a": "1", "k:b": "2", "k:c": "true"}
    assert is_allowed(Call("s3:GetObject", OBJECT, context), [both])
    for missing in context:
        rest = {key: value for key, value in context.items() if key != missing}
        assert not is_allowed(Call("s3:GetObject", OBJECT, rest), [both])


def test_a_resources_policy_is_about_the_principals_that_it_names():
    def policy(principal):
        return [{**allow(), "Principal": principal}]

    role = {"AWS": "arn:aws:iam::111111111111:role/x"}
    call = Call("s3:GetObject", OBJECT, principal=role)
    assert effect_of(call, policy("*")) == "Allow"
    assert effect_of(call, policy({"AWS": "arn:aws:iam::111111111111:root"})) == "Allow"
    assert effect_of(call, policy({"AWS": "arn:aws:iam::222222222222:root"})) is None
    assert effect_of(call, policy(role)) == "Allow"
    assert effect_of(call, policy({"Service": ["events.amazonaws.com"]})) is None
    service = Call("s3:GetObject", OBJECT, principal={"Service": "events.amazonaws.com"})
    assert effect_of(service, policy({"Service": ["events.amazonaws.com"]})) == "Allow"


def test_what_it_does_not_know_is_refused_and_not_guessed():
    with pytest.raises(UnknownPolicyError, match="DateLessThan"):
        is_allowed(GET, [allow(DateLessThan={"aws:CurrentTime": "2026-01-01"})])
    with pytest.raises(UnknownPolicyError, match="variable"):
        is_allowed(GET, [allow(resource="arn:aws:s3:::data/${aws:username}/*")])
    with pytest.raises(UnknownPolicyError, match="who calls"):
        effect_of(GET, [{**allow(), "Principal": {"Service": "events.amazonaws.com"}}])
    with pytest.raises(UnknownPolicyError, match="Elsewhere"):
        resolve({"Ref": "Elsewhere"}, {})
    with pytest.raises(UnknownPolicyError, match="Select"):
        resolve({"Fn::Select": [0, ["a"]]}, {})


def test_references_of_a_template_are_replaced_by_what_they_stand_for():
    names = {
        "Bucket": "data",
        "Key.Arn": "arn:key",
        "stack:Export": "arn:ex",
        "Published": "arn:out",
    }
    joined = {"Fn::Join": ["", ["arn:aws:s3:::", {"Ref": "Bucket"}, "/*"]]}
    document = {
        "Statement": {
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": [
                joined,
                {"Fn::GetAtt": ["Key", "Arn"]},
                {"Fn::ImportValue": "stack:Export"},
                {"Fn::GetStackOutput": {"StackName": "other", "OutputName": "Published"}},
            ],
        }
    }
    [statement] = statements_in(document, names)
    assert statement["Resource"] == ["arn:aws:s3:::data/*", "arn:key", "arn:ex", "arn:out"]
