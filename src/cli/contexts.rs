//! `lc ctx`: names for daemons, so that an operator of several need not type sockets and addresses.
//!
//! They are in `$XDG_CONFIG_HOME/lc/contexts.json`, or `~/.config/lc/contexts.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::arguments::path;
use super::exit::UsageError;
use super::output::{Output, note};
use super::table::{show, table};
use crate::client::admin::{AdminClient, NodeAddress, RemoteDaemon};
use crate::net::replace_file::replace_file;
use crate::protocol::admin::ClusterColour;
use crate::protocol::json;
use crate::tui::{ContextEntry, ContextSource, OpenedContext, no_such_context};

/// Name daemons, choose one of them, and list them
#[derive(Debug, Args)]
pub(super) struct CtxArgs {
    #[command(subcommand)]
    command: Option<CtxCommand>,
}

#[derive(Debug, Subcommand)]
enum CtxCommand {
    Add(Box<AddArgs>),
    /// Use a context in all commands without --ctx or --socket
    Use {
        /// Name of the context; without it none is used any more
        name: Option<String>,
    },
    /// List the contexts (the default)
    List,
    /// Remove a context
    Rm {
        /// Name of the context
        name: String,
    },
}

/// Name a daemon, by its admin socket or with --node by its address
///
/// The daemon at an address wants a client certificate (--cert, --key) that its admin.client_ca has
/// signed, or a token (--token-file) of lc token --admin. Files are read when they are used.
#[derive(Debug, Args)]
struct AddArgs {
    /// Name of the context
    #[arg(value_parser = context_name)]
    name: String,
    /// Admin socket of the daemon
    #[arg(value_name = "SOCKET", value_parser = path)]
    at: Option<PathBuf>,
    /// With --node: certificate of this client, as PEM
    #[arg(long, value_name = "FILE", value_parser = path, requires = "key")]
    cert: Option<PathBuf>,
    /// With --node: private key of the certificate, as PEM
    #[arg(long, value_name = "FILE", value_parser = path, requires = "cert")]
    key: Option<PathBuf>,
    /// With --node: file with a token, instead of a certificate
    #[arg(long, value_name = "FILE", value_parser = path, conflicts_with = "cert")]
    token_file: Option<PathBuf>,
    /// With --node: authorities that sign the certificate of the daemon, as PEM [default: those of
    /// the public web]
    #[arg(long, value_name = "FILE", value_parser = path)]
    ca: Option<PathBuf>,
    /// Refuse commands that change something
    #[arg(long)]
    read_only: bool,
    /// Colour of the cluster's name in lc top [default: the one that the daemon is configured with]
    #[arg(long, value_name = "COLOUR", value_parser = colour())]
    colour: Option<ClusterColour>,
}

fn colour() -> impl TypedValueParser<Value = ClusterColour> {
    PossibleValuesParser::new(ClusterColour::ALL.map(ClusterColour::as_str))
        .try_map(|text| text.parse::<ClusterColour>())
}

impl AddArgs {
    /// Returns the daemon that is named. Files must be usable now, so that a mistake is found at
    /// once.
    fn daemon(self, node: Option<NodeAddress>) -> anyhow::Result<NamedDaemon> {
        let Self { name: _, at, cert, key, token_file, ca, read_only, colour } = self;
        let absolute =
            |path: Option<PathBuf>| path.map(|path| std::path::absolute(&path)).transpose();
        let place = match (at, node) {
            (Some(at), None) => {
                if [&cert, &token_file, &ca].iter().any(|file| file.is_some()) {
                    let text = "--cert, --token-file and --ca are for a daemon with --node";
                    return Err(UsageError(text.to_owned()).into());
                }
                Place::Socket { socket: std::path::absolute(&at)? }
            }
            (None, Some(node)) => {
                let remote = RemoteDaemon {
                    node,
                    ca: absolute(ca)?,
                    cert: absolute(cert)?,
                    key: absolute(key)?,
                    token_file: absolute(token_file)?,
                };
                AdminClient::remote(&remote).map_err(|error| UsageError(error.to_string()))?;
                Place::Remote(remote)
            }
            (Some(_), Some(_)) => {
                let text = "a context has a socket or --node, not both";
                return Err(UsageError(text.to_owned()).into());
            }
            (None, None) => {
                let text = "which daemon? lc ctx add NAME SOCKET, or --node lcd://host:7443";
                return Err(UsageError(text.to_owned()).into());
            }
        };
        Ok(NamedDaemon { place, read_only, colour })
    }
}

fn context_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && text.len() <= 64 && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("a name has 1 to 64 of the characters a-z, A-Z, 0-9, - _ and .".to_owned())
}

/// One named daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NamedDaemon {
    #[serde(flatten)]
    pub(super) place: Place,
    #[serde(default)]
    pub(super) read_only: bool,
    /// The colour of the cluster's name in `lc top`; absent: the one that the daemon tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) colour: Option<ClusterColour>,
}

/// The contexts of a user, for `lc top`. They are read when they are wanted, so that those made
/// meanwhile count.
#[derive(Debug)]
pub(super) struct ContextFile {
    file: Option<PathBuf>,
}

impl ContextFile {
    pub(super) fn of_this_user() -> Self {
        Self { file: file() }
    }

    fn read(&self) -> Result<Contexts, String> {
        let read =
            self.file.as_deref().map_or_else(|| Ok(Contexts::default()), Contexts::read_from);
        read.map_err(|error| format!("{error:#}"))
    }
}

impl ContextSource for ContextFile {
    fn list(&self) -> Result<Vec<ContextEntry>, String> {
        let daemons = self.read()?.daemons.into_iter();
        Ok(daemons.map(|(name, daemon)| ChosenContext { name, daemon }.entry()).collect())
    }

    fn open(&self, name: &str) -> Result<OpenedContext, String> {
        let chosen = self.read()?.named(name).map_err(|error| error.to_string())?;
        let NamedDaemon { place, read_only, .. } = &chosen.daemon;
        let client = place.client(*read_only).map_err(|error| error.to_string())?;
        Ok(OpenedContext { entry: chosen.entry(), client })
    }
}

/// A context that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChosenContext {
    pub(super) name: String,
    pub(super) daemon: NamedDaemon,
}

impl ChosenContext {
    /// Returns the context as the console knows it.
    pub(super) fn entry(&self) -> ContextEntry {
        let Self { name, daemon } = self;
        ContextEntry {
            name: name.clone(),
            place: daemon.place.to_string(),
            colour: daemon.colour,
            read_only: daemon.read_only,
        }
    }
}

/// Where a daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Place {
    Socket { socket: PathBuf },
    Remote(RemoteDaemon),
}

impl Place {
    /// Returns a client of the daemon, which refuses changes if it is `read_only`. Reads the files
    /// that prove the caller.
    ///
    /// # Errors
    /// The files cannot be used.
    pub(super) fn client(&self, read_only: bool) -> Result<AdminClient, UsageError> {
        let client = match self {
            Self::Socket { socket } => AdminClient::new(socket.clone()),
            Self::Remote(remote) => {
                AdminClient::remote(remote).map_err(|error| UsageError(error.to_string()))?
            }
        };
        Ok(if read_only { client.read_only() } else { client })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { socket } => write!(f, "{}", socket.display()),
            Self::Remote(remote) => write!(f, "{}", remote.node),
        }
    }
}

/// The contexts of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contexts {
    /// The one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    daemons: BTreeMap<String, NamedDaemon>,
}

impl Contexts {
    /// Reads the contexts of this user. A file that does not exist has none.
    pub(super) fn read() -> anyhow::Result<Self> {
        match file() {
            Some(file) => Self::read_from(&file),
            None => Ok(Self::default()),
        }
    }

    fn read_from(file: &Path) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))
    }

    fn write_to(&self, file: &Path) -> anyhow::Result<()> {
        let directory = file.parent().unwrap_or(Path::new("."));
        let shown = file.display();
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {shown}"))?;
        let text = format!("{}\n", json::to_string(self)?);
        replace_file(file, text.as_bytes()).with_context(|| format!("cannot write {shown}"))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.daemons.keys().cloned().collect()
    }

    /// Returns the named context or, without a name, the one in use.
    pub(super) fn chosen(&self, name: Option<&str>) -> Result<Option<ChosenContext>, UsageError> {
        name.or(self.current.as_deref()).map(|name| self.named(name)).transpose()
    }

    fn named(&self, name: &str) -> Result<ChosenContext, UsageError> {
        let names = || self.daemons.keys().map(String::as_str);
        let known = self.daemons.get(name).cloned();
        let daemon = known.ok_or_else(|| UsageError(no_such_context(name, names())))?;
        Ok(ChosenContext { name: name.to_owned(), daemon })
    }
}

/// Returns the folder of what `lc` keeps of this user, or `None` without a home directory.
pub(super) fn folder() -> Option<PathBuf> {
    let non_empty = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let config = non_empty("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(non_empty("HOME")?).join(".config")))?;
    Some(config.join("lc"))
}

fn file() -> Option<PathBuf> {
    Some(folder()?.join("contexts.json"))
}

/// A context as it is listed.
#[derive(Debug, Serialize)]
struct ListedContext<'a> {
    name: &'a str,
    current: bool,
    #[serde(flatten)]
    daemon: &'a NamedDaemon,
}

/// Runs the command. `node` is the global option, which `lc ctx add` keeps.
pub(super) fn run(
    args: CtxArgs,
    node: Option<NodeAddress>,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let Some(file) = file() else { bail!("there is no home directory to keep contexts in") };
    let mut contexts = Contexts::read_from(&file)?;
    match args.command.unwrap_or(CtxCommand::List) {
        CtxCommand::List => {
            let listed = listed(&contexts);
            output.items(&listed, || to_table(&listed))?;
            return Ok(ExitCode::SUCCESS);
        }
        CtxCommand::Add(add) => {
            let name = add.name.clone();
            contexts.daemons.insert(name.clone(), add.daemon(node)?);
            contexts.write_to(&file)?;
            note(&format!("lc: `lc --ctx {name} …` or `lc ctx use {name}` uses it"));
            return Ok(ExitCode::SUCCESS);
        }
        CtxCommand::Use { name } => {
            contexts.chosen(name.as_deref())?;
            contexts.current = name;
        }
        CtxCommand::Rm { name } => {
            contexts.named(&name)?;
            contexts.daemons.remove(&name);
            contexts.current = contexts.current.filter(|current| *current != name);
        }
    }
    contexts.write_to(&file)?;
    Ok(ExitCode::SUCCESS)
}

fn listed(contexts: &Contexts) -> Vec<ListedContext<'_>> {
    contexts
        .daemons
        .iter()
        .map(|(name, daemon)| ListedContext {
            name,
            current: contexts.current.as_ref() == Some(name),
            daemon,
        })
        .collect()
}

fn to_table(contexts: &[ListedContext<'_>]) -> String {
    let mut rows = table(&["context", "used", "changes", "colour", "~daemon"]);
    for context in contexts {
        rows.add_row([
            context.name.to_owned(),
            if context.current { "✓" } else { "" }.to_owned(),
            if context.daemon.read_only { "refused" } else { "allowed" }.to_owned(),
            context.daemon.colour.map(|colour| colour.to_string()).unwrap_or_default(),
            context.daemon.place.to_string(),
        ]);
    }
    show(&rows, "No contexts. Name a daemon: lc ctx add NAME SOCKET, or --node lcd://host:7443")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> Contexts {
        let daemon = |socket: &str, read_only: bool| {
            let place = Place::Socket { socket: socket.into() };
            let colour = read_only.then_some(ClusterColour::Red);
            NamedDaemon { place, read_only, colour }
        };
        Contexts {
            current: Some("prod".to_owned()),
            daemons: [
                ("prod".to_owned(), daemon("/run/lcd/admin.sock", true)),
                ("staging".to_owned(), daemon("/tmp/staging.sock", false)),
            ]
            .into(),
        }
    }

    #[test]
    fn contexts_are_read_as_they_were_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lc/contexts.json");
        assert_eq!(Contexts::read_from(&file).unwrap(), Contexts::default());
        contexts().write_to(&file).unwrap();
        contexts().write_to(&file).unwrap();
        assert_eq!(Contexts::read_from(&file).unwrap(), contexts());
        std::fs::write(&file, "{").unwrap();
        let error = Contexts::read_from(&file).unwrap_err().to_string();
        assert!(error.ends_with("contexts.json is damaged"), "{error}");
    }

    fn add(line: &str) -> AddArgs {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            add: AddArgs,
        }
        <Line as clap::Parser>::try_parse_from(line.split(' ')).unwrap().add
    }

    #[test]
    fn a_daemon_has_a_socket_or_an_address() {
        let node: NodeAddress = "lcd://edge-1:7443".parse().unwrap();
        let line = "add prod --token-file /t --read-only --colour red";
        let named = add(line).daemon(Some(node.clone())).unwrap();
        let json = json::to_string(&named).unwrap();
        let written =
            r#"{"node":"lcd://edge-1:7443","token_file":"/t","read_only":true,"colour":"red"}"#;
        assert_eq!(json, written);
        assert_eq!(serde_json::from_str::<NamedDaemon>(&json).unwrap(), named);
        let socket = r#"{"socket":"/a.sock"}"#;
        let socket = serde_json::from_str::<NamedDaemon>(socket).unwrap();
        assert_eq!(socket, add("add prod /a.sock").daemon(None).unwrap());
        let error = |line, node| {
            let error = add(line).daemon(node).unwrap_err();
            assert!(error.is::<UsageError>());
            error.to_string()
        };
        assert!(error("add prod", None).contains("which daemon?"));
        assert!(error("add prod /a", Some(node.clone())).contains("not both"));
        assert!(error("add prod /a --ca /c", None).contains("--node"));
        assert!(error("add prod --ca /nowhere/ca", Some(node)).contains("/nowhere/ca"));
    }

    #[test]
    fn a_name_wins_over_the_one_in_use() {
        let contexts = contexts();
        let place = |name| contexts.chosen(name).unwrap().map(|it| it.daemon.place);
        let socket = |path: &str| Some(Place::Socket { socket: path.into() });
        assert_eq!(place(None), socket("/run/lcd/admin.sock"));
        assert_eq!(place(Some("staging")), socket("/tmp/staging.sock"));
        let entry = contexts.chosen(None).unwrap().unwrap().entry();
        let ContextEntry { name, place, colour, read_only } = &entry;
        assert_eq!((name.as_str(), place.as_str()), ("prod", "/run/lcd/admin.sock"));
        assert_eq!((*colour, *read_only), (Some(ClusterColour::Red), true));
        let error = contexts.chosen(Some("prd")).unwrap_err().to_string();
        assert_eq!(error, "there is no context `prd`; there are prod, staging");
        assert_eq!(Contexts::default().chosen(None).unwrap(), None);
    }

    #[test]
    fn the_console_opens_what_is_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let source = ContextFile { file: Some(directory.path().join("contexts.json")) };
        assert!(source.list().unwrap().is_empty());
        contexts().write_to(source.file.as_deref().unwrap()).unwrap();
        let listed = source.list().unwrap();
        assert_eq!(
            listed.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(),
            ["prod", "staging"]
        );
        assert_eq!(source.open("staging").unwrap().entry, listed[1]);
        let error = source.open("prd").unwrap_err();
        assert_eq!(error, "there is no context `prd`; there are prod, staging");
        std::fs::write(source.file.as_deref().unwrap(), "{").unwrap();
        let error = source.list().unwrap_err();
        assert!(error.contains("contexts.json is damaged: EOF"), "{error}");
        let nowhere = ContextFile { file: None };
        assert!(nowhere.list().unwrap().is_empty(), "without a home directory");
    }

    #[test]
    fn the_table_marks_the_one_in_use() {
        let contexts = contexts();
        insta::assert_snapshot!(to_table(&listed(&contexts)));
    }
}
