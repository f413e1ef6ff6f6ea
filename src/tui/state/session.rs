//! The cluster that the console is attached to, and the operator that it acts for.

use super::{Console, Lock};
use crate::protocol::admin::{AdminRole, ClusterColour, Session, short_actor};
use crate::tui::contexts::ContextEntry;

/// The text and the colour by which the header tells this cluster from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterLabel {
    /// The name of the cluster, else of the context, else of the node.
    pub(crate) name: String,
    pub(crate) colour: Option<ClusterColour>,
    /// The context and the node, unless their name is shown already.
    pub(crate) context: Option<String>,
    pub(crate) node: Option<String>,
}

impl Console {
    /// Takes the context that names the daemon.
    pub(crate) fn set_context(&mut self, context: ContextEntry) {
        if context.read_only {
            self.lock = Lock::new(true);
        }
        self.context = Some(context);
    }

    /// Returns what the console is attached to; `None` before anything of it has a name. The
    /// daemon knows best what it is, so its name wins over that of the context, which may lead
    /// elsewhere than its owner thinks. The colour is for the eye of one operator, so that of the
    /// context wins.
    pub(crate) fn cluster_label(&self) -> Option<ClusterLabel> {
        let node = self.moment().map(|moment| moment.snapshot.node.to_string());
        let context = self.context.as_ref().map(|context| context.name.clone());
        let cluster = self.session.as_ref().and_then(|session| session.cluster.clone());
        let name = cluster.or_else(|| context.clone()).or_else(|| node.clone())?;
        let of_context = self.context.as_ref().and_then(|context| context.colour);
        let of_daemon = || self.session.as_ref().and_then(|session| session.colour);
        Some(ClusterLabel {
            colour: of_context.or_else(of_daemon),
            context: context.filter(|context| *context != name),
            node: node.filter(|node| *node != name),
            name,
        })
    }

    /// Takes who the daemon says that the console acts for. While it does not say so, what was
    /// known stays.
    pub(crate) fn set_session(&mut self, session: Option<Session>) {
        if session.is_some() {
            self.session = session;
        }
    }

    /// Returns the name and the role for the first row: `ann, operator`.
    pub(crate) fn who(&self) -> Option<String> {
        let session = self.session.as_ref()?;
        Some(format!("{}, {}", short_actor(&session.actor), session.role))
    }

    /// Returns whether the role allows no act at all.
    pub(crate) fn only_reads(&self) -> bool {
        self.refused_role(AdminRole::Moderator).is_some()
    }

    /// Returns why the daemon would refuse what needs a role; `None` if it would not, or has not
    /// said yet who the caller is.
    pub(crate) fn refused_role(&self, needed: AdminRole) -> Option<String> {
        let session = self.session.as_ref().filter(|session| session.role < needed)?;
        Some(format!(
            "this needs the role {needed}, and {} has the role {} here",
            short_actor(&session.actor),
            session.role
        ))
    }
}
