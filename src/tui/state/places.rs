//! Where the operator is: the view, what is opened in it, and the panels with their tables.

use crate::protocol::filter;
use crate::protocol::{NodeId, StreamId};
use crate::tui::commands::Command;
use crate::tui::rows;
use crate::tui::table::{Column, TableState};

/// The views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum View {
    Overview,
    Streams,
    Cluster,
    Engines,
    Moderation,
    Events,
}

impl View {
    pub(crate) const ALL: [Self; 6] = [
        Self::Overview,
        Self::Streams,
        Self::Cluster,
        Self::Engines,
        Self::Moderation,
        Self::Events,
    ];

    pub(crate) fn command(self) -> Command {
        match self {
            Self::Overview => Command::Overview,
            Self::Streams => Command::Streams,
            Self::Cluster => Command::Cluster,
            Self::Engines => Command::Engines,
            Self::Moderation => Command::Moderation,
            Self::Events => Command::Events,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Streams => "Streams",
            Self::Cluster => "Cluster",
            Self::Engines => "Engines",
            Self::Moderation => "Moderation",
            Self::Events => "Events",
        }
    }
}

/// A view, and what is opened in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    View(View),
    Stream(StreamId),
    Node(NodeId),
}

impl Place {
    pub(crate) fn view(&self) -> View {
        match self {
            Self::View(view) => *view,
            Self::Stream(_) => View::Streams,
            Self::Node(_) => View::Cluster,
        }
    }

    /// Returns the panels, in the order of Tab.
    pub(crate) fn panels(&self) -> &'static [Panel] {
        match self {
            Self::View(View::Overview) => &[Panel::Alarms, Panel::Busiest, Panel::Fullest],
            Self::View(View::Streams) => &[Panel::Streams],
            Self::View(View::Cluster) => &[Panel::Nodes],
            Self::View(View::Engines) => &[Panel::Bus, Panel::Groups, Panel::Stores],
            Self::View(View::Moderation) => &[Panel::Reviews, Panel::Decisions, Panel::Offenders],
            Self::View(View::Events) => &[Panel::Events],
            Self::Stream(_) => &[Panel::Comments, Panel::Talkers],
            Self::Node(_) => &[Panel::Workers],
        }
    }
}

/// A table on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Panel {
    Alarms,
    Busiest,
    Fullest,
    Streams,
    Comments,
    Talkers,
    Nodes,
    Workers,
    Bus,
    Groups,
    Stores,
    Reviews,
    Decisions,
    Offenders,
    Events,
}

impl Panel {
    pub(crate) const ALL: [Self; 15] = [
        Self::Alarms,
        Self::Busiest,
        Self::Fullest,
        Self::Streams,
        Self::Comments,
        Self::Talkers,
        Self::Nodes,
        Self::Workers,
        Self::Bus,
        Self::Groups,
        Self::Stores,
        Self::Reviews,
        Self::Decisions,
        Self::Offenders,
        Self::Events,
    ];

    /// Returns the name under which a saved view has the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alarms => "alerts",
            Self::Busiest => "busiest",
            Self::Fullest => "fullest",
            Self::Streams => "streams",
            Self::Comments => "comments",
            Self::Talkers => "talkers",
            Self::Nodes => "nodes",
            Self::Workers => "workers",
            Self::Bus => "bus",
            Self::Groups => "groups",
            Self::Stores => "stores",
            Self::Reviews => "reviews",
            Self::Decisions => "decisions",
            Self::Offenders => "offenders",
            Self::Events => "events",
        }
    }

    /// Returns whether its rows are those of a snapshot. The others are fetched beside it: they are
    /// not remembered, and not recorded.
    pub(crate) fn is_of_snapshots(self) -> bool {
        !matches!(
            self,
            Self::Comments | Self::Talkers | Self::Reviews | Self::Decisions | Self::Offenders
        )
    }

    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Alarms => rows::ALARMS,
            Self::Busiest | Self::Streams => rows::STREAMS,
            Self::Fullest | Self::Nodes => rows::NODES,
            Self::Comments => rows::COMMENTS,
            Self::Talkers => rows::TALKERS,
            Self::Workers => rows::WORKERS,
            Self::Bus => rows::BUS,
            Self::Groups => rows::GROUPS,
            Self::Stores => rows::STORES,
            Self::Reviews => rows::REVIEWS,
            Self::Decisions => rows::DECISIONS,
            Self::Offenders => rows::OFFENDERS,
            Self::Events => rows::EVENTS,
        }
    }

    /// Returns the columns that a filter may name.
    pub(crate) fn filtered(self) -> &'static [filter::Column] {
        match self {
            Self::Alarms => rows::AlarmRow::FILTERED,
            Self::Busiest | Self::Streams => rows::StreamRow::FILTERED,
            Self::Fullest | Self::Nodes => rows::NodeRow::FILTERED,
            Self::Comments => rows::CommentRow::FILTERED,
            Self::Talkers => rows::TalkerRow::FILTERED,
            Self::Workers => rows::WorkerRow::FILTERED,
            Self::Bus => rows::BusRow::FILTERED,
            Self::Groups => rows::GroupRow::FILTERED,
            Self::Stores => rows::StoreRow::FILTERED,
            Self::Reviews => rows::ReviewRow::FILTERED,
            Self::Decisions => rows::DecisionRow::FILTERED,
            Self::Offenders => rows::OffenderRow::FILTERED,
            Self::Events => rows::EventRow::FILTERED,
        }
    }

    pub(super) fn initial_state(self) -> TableState {
        match self {
            Self::Busiest | Self::Streams => TableState::sorted_by("in/s"),
            Self::Talkers => TableState::sorted_by("said"),
            Self::Workers => TableState::sorted_by("worker"),
            _ => TableState::default(),
        }
    }
}
