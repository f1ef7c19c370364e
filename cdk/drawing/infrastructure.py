"""docs/images/infrastructure.svg: the resources, stack by stack, and what starts or tells what.

One column of cards, so that a phone shows it as a desk does. Where one resource acts on the next
card the arrow is between them; every other connection runs in a lane beside the stacks: on the left
what starts something, on the right what is told and what failed. Connections to the same card share
a lane.

Leaves out: people's and services' rights in full, which security.py draws.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from cdk.drawing.account import AccountTemplates
from cdk.drawing.canvas import WIDTH, Canvas
from cdk.drawing.cards import Node
from cdk.drawing.edges import Edge, EdgeKind
from cdk.drawing.graph import Graph, graph_of

_LEFT, _RIGHT = 34, WIDTH - 34  # of a stack's panel; lanes are outside
_INSET = 9
_PAD = 10
_LINE = 15
_GAP, _ARROW_GAP = 6, 20
_CHARACTERS = 50  # of 11.5 px type in a card
_LANE = 8  # px from one lane to the next

STACKS = (
    "identity", "foundation", "roles", "training", "edge", "promotion", "monitoring", "delivery",
)  # fmt: skip
_TINTS: Mapping[str, tuple[str, str]] = {
    "identity": ("#fdf4ff", "#c026d3"),
    "foundation": ("#f0fdf4", "#16a34a"),
    "roles": ("#fff7ed", "#ea580c"),
    "training": ("#eff6ff", "#2563eb"),
    "edge": ("#ecfeff", "#0891b2"),
    "promotion": ("#f5f3ff", "#7c3aed"),
    "monitoring": ("#fefce8", "#ca8a04"),
    "delivery": ("#fdf2f8", "#db2777"),
}
_STACKS_BY_SETTING: Mapping[str, str] = {
    "identity": "identity.instance_arn",
    "delivery": "delivery.connection",
}
"""Stacks of which all depends on one setting: it is said once, and not on each card."""
_OTHER = ("#f8fafc", "#64748b")
_COLOURS: Mapping[EdgeKind, str] = {"starts": "#2563eb", "tells": "#b45309", "fails": "#dc2626"}
_ORDER = (
    # identity
    "AWS::SSO::PermissionSet",
    # foundation: the raw bucket, which starts things, last of the buckets
    "AWS::KMS::Key",
    "AWS::S3::Bucket",
    "AWS::Budgets::Budget",
    "AWS::SNS::Topic",
    # delivery, along the way of a commit
    "AWS::CodePipeline::Pipeline",
    "AWS::CodeBuild::Project",
    # roles
    "AWS::IAM::OIDCProvider",
    "AWS::IAM::Role",
    "AWS::Budgets::BudgetsAction",
    "AWS::IAM::ManagedPolicy",
    # training, along the way from new data to an alert
    "AWS::ECR::Repository",
    "AWS::Scheduler::Schedule",
    "AWS::Events::Rule",
    "AWS::Lambda::Function",
    "AWS::StepFunctions::StateMachine",
    "AWS::Scheduler::ScheduleGroup",
    "AWS::SageMaker::Pipeline",
    "AWS::SageMaker::ModelPackageGroup",
    "AWS::SageMaker::Domain",
    # edge: what devices are given, and the way of their telemetry
    "AWS::IoT::Policy",
    "AWS::IoT::RoleAlias",
    "AWS::IoT::ThingType",
    "AWS::IoT::ThingGroup",
    "AWS::IoT::TopicRule",
    # monitoring
    "AWS::CloudWatch::Dashboard",
    # several
    "AWS::SQS::Queue",
    "AWS::CloudWatch::Alarm",
    "AWS::Logs::LogGroup",
)


@dataclass(frozen=True)
class _Place:
    """Where a card stands."""

    top: float
    height: float

    def side(self, share: float) -> float:
        """A height on its side, from 0 (top) to 1."""
        return self.top + share * self.height


def draw(account: AccountTemplates) -> str:
    """The picture's SVG."""
    return _Picture(account).svg()


class _Picture:
    def __init__(self, account: AccountTemplates) -> None:
        self._account = account
        self._graph = graph_of(account)
        self._canvas = Canvas()
        self._places: dict[str, _Place] = {}
        self._straight: set[Edge] = set()
        self._y: float = 0

    def svg(self) -> str:
        self._heading()
        for stack in ordered_stacks(self._account):
            self._stack(stack)
        self._lanes()
        settings = self._account.settings
        summary = f"The stacks of {settings.name} with their resources and what starts what"
        return self._canvas.svg(self._y + 6, summary)

    def _heading(self) -> None:
        settings, canvas = self._account.settings, self._canvas
        canvas.text(_LEFT, 28, f"{settings.name} in {settings.region}", "head")
        canvas.text(_LEFT, 45, f"account {settings.account} (a placeholder)", "tag")
        legend: tuple[tuple[EdgeKind, str, int], ...] = (
            ("starts", "starts, acts on", 118),
            ("tells", "tells", 66),
            ("fails", "hands on what failed", 140),
        )
        x = _LEFT
        for kind, words, width in legend:
            canvas.line([(x, 61), (x + 22, 61)], _COLOURS[kind], dashed=kind == "fails")
            canvas.text(x + 28, 65, words)
            x += width
        self._y = 82

    def _stack(self, stack: str) -> None:
        tint, edge = _TINTS.get(stack, _OTHER)
        nodes = ordered_nodes(self._graph, stack)
        top = self._y
        said = textwrap.wrap(self._account.description(stack), _CHARACTERS)
        if stack in _STACKS_BY_SETTING:
            said.append(f"only with {_STACKS_BY_SETTING[stack]}")
        heights = [_height(node) for node in nodes]
        gaps = [_ARROW_GAP if self._between(a, b) else _GAP for a, b in pairwise(nodes)]
        total = 38 + _LINE * len(said) + sum(heights) + sum(gaps) + _INSET
        self._canvas.box(_LEFT, top, _RIGHT - _LEFT, total, fill=tint, edge=edge, round_px=10)
        x, y = _LEFT + _INSET, top + 21
        self._canvas.text(x, y, self._account.settings.stack_name(stack), "panel")
        for line in said:
            y += _LINE
            self._canvas.text(x, y, line, "setting" if line.startswith("only with ") else "")
        y += 11
        for index, node in enumerate(nodes):
            self._card(node, y, heights[index], edge)
            y += heights[index] + (gaps[index] if index < len(gaps) else 0)
        self._straight_arrows(nodes)
        self._y = top + total + 14

    def _card(self, node: Node, y: float, height: float, edge: str) -> None:
        resource, canvas = node.resource, self._canvas
        x, right = _LEFT + _INSET, _RIGHT - _INSET
        dashed = resource.setting is not None
        canvas.box(x, y, right - x, height, fill="#ffffff", edge=edge, dashed=dashed)
        self._places[resource.arn] = _Place(y, height)
        y += 18
        canvas.text(x + _PAD, y, node.title, "title")
        canvas.text(right - _PAD, y, node.tag, "tag", anchor="end")
        for line, style in _lines(node):
            y += _LINE
            canvas.text(x + _PAD, y, line, style)

    def _between(self, one: Node, other: Node) -> list[Edge]:
        """The connections from a card to the one below it."""
        ends = (one.resource.arn, other.resource.arn)
        return [edge for edge in self._graph.edges if (edge.source, edge.target) == ends]

    def _straight_arrows(self, nodes: list[Node]) -> None:
        for one, other in pairwise(nodes):
            for edge in self._between(one, other):
                start, end = self._places[edge.source], self._places[edge.target]
                x = _LEFT + _INSET + 40
                self._canvas.line(
                    [(x, start.top + start.height), (x, end.top)],
                    _COLOURS[edge.kind],
                    dashed=edge.kind == "fails",
                )
                self._straight.add(edge)

    def _lanes(self) -> None:
        """Every other connection, those that end in one card and are of one kind in one lane."""
        bundles: dict[tuple[str, EdgeKind], list[Edge]] = {}
        for edge in self._graph.edges:
            if edge not in self._straight:
                bundles.setdefault((edge.target, edge.kind), []).append(edge)
        taken: dict[str, list[list[tuple[float, float]]]] = {"left": [], "right": []}
        for (target, kind), edges in bundles.items():
            side = "left" if kind == "starts" else "right"
            ends = [self._places[target].side(_SHARES[kind])]
            starts = [self._places[edge.source].side(_SHARES_OUT[kind]) for edge in edges]
            lane = _free_lane(taken[side], min(starts + ends), max(starts + ends))
            for start in starts:
                self._through(side, lane, start, ends[0], kind)

    def _through(self, side: str, lane: int, start: float, end: float, kind: EdgeKind) -> None:
        at = _LEFT - 6 - lane * _LANE if side == "left" else _RIGHT + 6 + lane * _LANE
        card = _LEFT + _INSET if side == "left" else _RIGHT - _INSET
        points = [(card, start), (at, start), (at, end), (card, end)]
        self._canvas.line(points, _COLOURS[kind], dashed=kind == "fails")


_SHARES: Mapping[EdgeKind, float] = {"starts": 0.35, "tells": 0.35, "fails": 0.35}
_SHARES_OUT: Mapping[EdgeKind, float] = {"starts": 0.7, "tells": 0.6, "fails": 0.82}
"""How far down a card's side a connection ends and begins."""


def ordered_stacks(account: AccountTemplates) -> list[str]:
    """The stacks from top to bottom; one that is not known comes last."""
    known = [stack for stack in STACKS if stack in account.templates]
    return [*known, *(stack for stack in account.templates if stack not in known)]


def ordered_nodes(graph: Graph, stack: str) -> list[Node]:
    """A stack's cards from top to bottom; a type that is not known comes last."""

    def rank(node: Node) -> float:
        kind = node.resource.type
        position = _ORDER.index(kind) if kind in _ORDER else len(_ORDER)
        # a rule about executions follows the pipeline that it listens to
        listens = kind == "AWS::Events::Rule" and "execution" in node.resource.name
        if kind == "AWS::Events::Rule" and stack == "delivery":
            return _ORDER.index("AWS::CodePipeline::Pipeline") + 0.5
        return _ORDER.index("AWS::SageMaker::Pipeline") if listens else position

    return sorted((node for node in graph.nodes if node.resource.stack == stack), key=rank)


def _lines(node: Node) -> Iterator[tuple[str, str]]:
    """The lines below a card's title with their style."""
    setting = node.resource.setting
    if setting and setting != _STACKS_BY_SETTING.get(node.resource.stack):
        yield f"only with {setting}", "setting"
    for content in node.lines:
        if content == node.resource.name or content.startswith("alias/"):
            yield content, "name"
        else:
            lines = textwrap.wrap(content, _CHARACTERS, break_on_hyphens=False)
            for index, line in enumerate(lines):
                yield ("" if index == 0 else "  ") + line, ""


def _height(node: Node) -> float:
    return 26 + _LINE * sum(1 for _ in _lines(node))


def _free_lane(lanes: list[list[tuple[float, float]]], top: float, bottom: float) -> int:
    """The first lane in which nothing runs between the two heights, taken from now on."""
    for number, taken in enumerate(lanes):
        if all(bottom < other_top or other_bottom < top for other_top, other_bottom in taken):
            taken.append((top, bottom))
            return number
    lanes.append([(top, bottom)])
    return len(lanes) - 1
