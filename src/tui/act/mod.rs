//! The actions of an operator in the console: from a form to a request, its effect, its reversal.

mod action;
mod batch;
mod batch_text;
mod confirmation;
mod form;
mod preview;
mod rights;
mod several;
mod undo;

pub(crate) use action::{Action, progress_text};
pub(crate) use batch::undo_window_ms;
pub(crate) use confirmation::{ActEffect, Confirmation, Consent};
pub(crate) use form::{Edit, Form, FormKind};
pub(crate) use preview::acted_against;
pub(crate) use rights::role_for;
pub(crate) use several::{ActionsOutcome, run_all};
pub(crate) use undo::{UndoEntry, UndoList, equivalents_of_undo, undo_of};
