//! The table of layers.

use crate::source::Tree;

/// What each part of the crate may import besides itself.
const PARTS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("client", &["protocol"]),
    ("tui", &["protocol", "client"]),
    ("cli", &["protocol", "client", "tui"]),
    ("daemon", &["protocol"]),
];
const BINARIES: &[(&str, &[&str])] =
    &[("lc", &["protocol", "client", "tui", "cli"]), ("lcd", &["protocol", "daemon"])];

/// The daemon's layers, each importing from those before it. Rooms of one layer do not know each
/// other, except the foundations.
const LAYERS: &[(&str, &[&str])] = &[
    (
        FOUNDATIONS,
        &[
            "clock",
            "config",
            "handoff",
            "metrics",
            "redis_nodes",
            "single_flight",
            "status",
            "supervise",
        ],
    ),
    ("engine contracts", &["bus", "eventlog", "reactions", "registry", "reservations", "store"]),
    ("directories", &["directory"]),
    (
        "stages",
        &[
            "archive",
            "auth",
            "broadcast",
            "control",
            "delivery",
            "direct_path",
            "ingest",
            "moderation",
            "reaction stage",
        ],
    ),
    ("edges", &["admin", "gateway"]),
    (
        ASSEMBLY,
        &[
            "assembly",
            "check",
            "engines",
            "first_start",
            "run",
            "service_manager",
            "shutdown",
            "warm_start",
        ],
    ),
];
const FOUNDATIONS: &str = "foundations";
const ASSEMBLY: &str = "assembly";

/// Contracts that answer with another one's error.
const SHARED_ERRORS: &[(&str, &str)] = &[("reactions", "store")];

/// Modules that are one engine of a contract.
const ENGINES: &[&str] =
    &["cassandra", "embedded", "in_process", "kafka", "memory", "postgres", "redis", "sqlite"];

/// Whether a module may name a path from the crate's root; if not, why.
pub(crate) fn judge(tree: &Tree, from: &[String], to: &[String]) -> Result<(), String> {
    let Some(from_part) = from.first() else { return Ok(()) };
    let to_part = &to[0];
    if !PARTS.iter().any(|(part, _)| part == to_part) {
        // An item of the same file's parent, a binary's own module, a macro.
        return Ok(());
    }
    let allowed = if from_part == "bin" {
        let name = from.get(1).map_or("", String::as_str);
        find(BINARIES, name).ok_or_else(|| format!("binary {name} is not in the table"))?
    } else {
        find(PARTS, from_part).ok_or_else(|| format!("{from_part} is not in the table"))?
    };
    if from_part != to_part && !allowed.contains(&to_part.as_str()) {
        return Err(format!("{from_part} must not import {to_part}"));
    }
    if from_part == "daemon" && to_part == "daemon" {
        return judge_rooms(tree, &from[1..], &to[1..]);
    }
    Ok(())
}

fn judge_rooms(tree: &Tree, from: &[String], to: &[String]) -> Result<(), String> {
    // The daemon's own mod.rs, and nothing but the name of the daemon.
    let (Some(from_room), Some(to_room)) = (room(tree, from), room(tree, to)) else {
        return Ok(());
    };
    let (from_layer, to_layer) = (layer(&from_room)?, layer(&to_room)?);
    let engine = to.iter().skip(1).find(|part| ENGINES.contains(&part.as_str()));
    if let Some(engine) = engine.filter(|_| from[0] != to[0] && LAYERS[from_layer].0 != ASSEMBLY) {
        return Err(format!("{from_room} must not choose the engine {engine}"));
    }
    let foundations = LAYERS[from_layer].0 == FOUNDATIONS;
    let shared = SHARED_ERRORS.contains(&(from_room.as_str(), to_room.as_str()));
    let may = from_room == to_room
        || to_layer < from_layer
        || (to_layer == from_layer && (foundations || LAYERS[from_layer].0 == ASSEMBLY))
        || shared;
    if may {
        return Ok(());
    }
    let (from_layer, to_layer) = (LAYERS[from_layer].0, LAYERS[to_layer].0);
    Err(format!("{from_room} ({from_layer}) must not import {to_room} ({to_layer})"))
}

/// The room of a module below `daemon`. Two stages live in the folder of the contract they serve.
fn room(tree: &Tree, module: &[String]) -> Option<String> {
    let name = module.first()?;
    let inner = module.get(1).map(String::as_str);
    Some(match (name.as_str(), inner) {
        ("store", Some("archive")) => "archive".to_owned(),
        ("reactions", Some(inner)) if is_stage_of_reactions(tree, inner) => {
            "reaction stage".to_owned()
        }
        _ => name.clone(),
    })
}

fn is_stage_of_reactions(tree: &Tree, inner: &str) -> bool {
    let module = ["daemon", "reactions", inner].map(str::to_owned);
    tree.has_module(&module) && !ENGINES.contains(&inner)
}

fn layer(room: &str) -> Result<usize, String> {
    LAYERS
        .iter()
        .position(|(_, rooms)| rooms.contains(&room))
        .ok_or_else(|| format!("{room} is not in the table of layers"))
}

fn find<'a>(table: &'a [(&str, &[&str])], name: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(part, _)| *part == name).map(|(_, allowed)| *allowed)
}
