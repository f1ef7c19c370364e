"""The account as nodes, one for each resource that people know by name, and edges between them.

A resource that only belongs to another (a policy, an alias, a permission, the role of a build) is a
line of that one's card or nothing; one of an unknown type gets a card all the same, so that nothing
is left out of the picture because it is new.

Leaves out: what a card says (cards.py), how an edge is found (edges.py), and where a card stands
(infrastructure.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from cdk.drawing import release
from cdk.drawing.account import AccountTemplates, Resource
from cdk.drawing.cards import Cards, Node
from cdk.drawing.edges import Edge, edges_of

BELONGING = frozenset({
    "AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress",
    "AWS::KMS::Alias", "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::Permission",
    "AWS::S3::BucketPolicy", "AWS::SNS::Subscription", "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy", "AWS::SSO::Assignment",
})  # fmt: skip
"""Types that have no card of their own."""


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of their stacks, and what goes from one to another."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def graph_of(account: AccountTemplates) -> Graph:
    """Read nodes and edges off the templates."""
    cards = Cards(account)
    nodes = tuple(cards.node(one) for one in account.resources if not belongs(one, account))
    known = {node.resource.arn for node in nodes}
    found = dict.fromkeys(
        edge
        for one in account.resources
        for edge in edges_of(one, account)
        if {edge.source, edge.target} <= known
    )
    return Graph(nodes, tuple(found))


def belongs(one: Resource, account: AccountTemplates) -> bool:
    """Whether a resource has no card of its own."""
    return one.type in BELONGING or release.is_of_a_build(one, account)
