//! `parhelion models`: the catalogue, the hub, and what of them is on this machine.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CommandError, Context, print_json};
use crate::cache::Cache;
use crate::catalogue::{DEFAULT_MODEL, MODELS, Model};
use crate::fetch::{Cached, FetchError, Fetcher, Freshness, Removed};
use crate::hub::{CachedRepository, HubName};
use crate::model::{ModelName, NameError};
use crate::progress::bytes;
use crate::text::printable;

const EXAMPLES: &str = "\
Examples:
  parhelion models                                 what there is
  parhelion models pull smollm2-135m-instruct      fetch and check it
  parhelion models pull owner/name                 a repository of the hub, its newest commit
  parhelion models pull owner/name-GGUF:Q4_K_M     one quantisation of several
  parhelion models pull owner/name@v1.0:sub/m.gguf one file at a tag, branch or commit
  parhelion models verify owner/name               check its files' hashes
  parhelion models path owner/name                 where it is
  parhelion models remove owner/name               free its space

Models of the hub are kept in the cache that the hub's own tools use ($HF_HUB_CACHE, $HF_HOME), the others in the
user's cache directory, or in $PARHELION_CACHE.";

/// List models, fetch them, check them and remove them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ModelsOptions {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the models that can be asked for by name, and those of the hub that are here
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model, or check and update the one that is here
    Pull(Named),
    /// Check the hashes of a model's files, and remove those that are damaged
    Verify(Named),
    /// Remove a model's files, finished or not
    Remove(Named),
    /// Print the path of a model's file or directory
    Path(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// A name of the list, or owner/name[@revision][:file, directory or quantisation] of the hub
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct List<'a> {
    directory: String,
    hub_directory: Option<String>,
    models: Vec<Entry<'a>>,
    repositories: Vec<RepositoryEntry>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    title: &'a str,
    license: &'a str,
    default: bool,
    bytes: Option<u64>,
    sha256: Option<&'a str>,
    path: Option<String>,
}

#[derive(Serialize)]
struct RepositoryEntry {
    id: String,
    bytes: u64,
    path: String,
    snapshots: Vec<SnapshotEntry>,
}

#[derive(Serialize)]
struct SnapshotEntry {
    commit: String,
    revisions: Vec<String>,
    files: usize,
}

/// What an action on one model came to.
#[derive(Serialize)]
struct Outcome<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_bytes: Option<u64>,
}

/// A model that this command can act on.
enum Known {
    Catalogue(&'static Model<'static>),
    Hub(HubName),
}

pub(super) fn run(context: &Context, options: ModelsOptions) -> Result<(), CommandError> {
    let cache = Cache::of_user()?;
    let fetcher = context.fetcher(&cache);
    match options.action.unwrap_or(Action::List { json: false }) {
        Action::List { json } => list(&fetcher, json),
        Action::Pull(named) => pull(context, &fetcher, &named),
        Action::Verify(named) => verify(context, &fetcher, &named),
        Action::Remove(named) => remove(context, &fetcher, &named),
        Action::Path(named) => {
            let path = here(context, &fetcher, &named)?;
            answer(&named, &path.display().to_string(), &Outcome { path: Some(path.display().to_string()), ..outcome(&named) })
        }
    }
}

fn known(context: &Context, name: &str) -> Result<Known, NameError> {
    match context.model_name(Some(name))? {
        ModelName::Catalogue(model) => Ok(Known::Catalogue(model)),
        ModelName::Hub(name) => Ok(Known::Hub(name)),
        ModelName::Url(_) | ModelName::Path(_) => Err(NameError::Unknown { name: name.to_owned() }),
    }
}

fn outcome(named: &Named) -> Outcome<'_> {
    Outcome { name: &named.name, path: None, damaged: None, removed_bytes: None }
}

/// Prints `line`, or `outcome` to programs.
fn answer(named: &Named, line: &str, outcome: &Outcome<'_>) -> Result<(), CommandError> {
    match named.json {
        true => print_json(outcome),
        false if line.is_empty() => Ok(()),
        false => Ok(writeln!(io::stdout(), "{line}")?),
    }
}

fn list(fetcher: &Fetcher<'_>, json: bool) -> Result<(), CommandError> {
    let models: Vec<_> = MODELS
        .iter()
        .map(|model| Entry {
            id: model.id,
            title: model.title,
            license: model.license,
            default: model.id == DEFAULT_MODEL,
            bytes: model.bytes,
            sha256: model.sha256,
            path: fetcher.finished(model).map(|path| path.display().to_string()),
        })
        .collect();
    let hub = fetcher.hub_cache().ok();
    let repositories: Vec<_> = hub.iter().flat_map(|hub| hub.repositories()).map(|repository| repository_entry(&repository)).collect();
    let directory = fetcher.cache.models_dir().display().to_string();
    let hub_directory = hub.as_ref().map(|hub| hub.root().display().to_string());
    if json {
        return print_json(&List { directory, hub_directory, models, repositories });
    }
    let mut out = io::stdout().lock();
    for entry in &models {
        let state = if entry.path.is_some() { "on this machine" } else { "not fetched yet" };
        let size = entry.bytes.map(bytes).unwrap_or_default();
        let default = if entry.default { ", the default" } else { "" };
        writeln!(out, "{}  {size}, {}, {state}{default}\n    {}", entry.id, entry.license, entry.title)?;
    }
    for entry in repositories.iter().filter(|entry| !entry.snapshots.is_empty()) {
        let revisions: Vec<_> = entry.snapshots.iter().flat_map(|snapshot| snapshot.revisions.iter().map(|name| printable(name))).collect();
        writeln!(
            out,
            "{}  {}, of the hub{}",
            entry.id,
            bytes(entry.bytes),
            revisions.iter().map(|name| format!(", {name}")).collect::<String>()
        )?;
    }
    writeln!(out, "\nFiles are kept in {directory}")?;
    if let Some(hub_directory) = hub_directory {
        writeln!(out, "and those of the hub in {hub_directory}")?;
    }
    Ok(())
}

fn repository_entry(repository: &CachedRepository) -> RepositoryEntry {
    let snapshots = repository.snapshots().into_iter().map(|(snapshot, revisions)| SnapshotEntry {
        commit: snapshot.commit().to_owned(),
        revisions,
        files: snapshot.files().len(),
    });
    RepositoryEntry {
        id: repository.id().to_string(),
        bytes: repository.blobs().iter().fold(0, |sum: u64, (_, size)| sum.saturating_add(*size)),
        path: repository.directory().display().to_string(),
        snapshots: snapshots.collect(),
    }
}

fn pull(context: &Context, fetcher: &Fetcher<'_>, named: &Named) -> Result<(), CommandError> {
    let path = match known(context, &named.name)? {
        Known::Hub(name) => {
            let path = fetcher.repository(&name, Freshness::Newest)?;
            context.notice(&format!("{name} is here"));
            path
        }
        Known::Catalogue(model) => {
            if fetcher.finished(model).is_some() && !fetcher.verify(model)? {
                context.notice("the file in the cache is damaged: fetching it again");
            }
            let path = fetcher.model(model)?;
            context.notice(&format!("{} is here, its sha256 checked", model.id));
            path
        }
    };
    let path = path.display().to_string();
    answer(named, &path, &Outcome { path: Some(path.clone()), ..outcome(named) })
}

fn verify(context: &Context, fetcher: &Fetcher<'_>, named: &Named) -> Result<(), CommandError> {
    let missing = || NotFetched(named.name.clone());
    let damaged = match known(context, &named.name)? {
        Known::Catalogue(model) => {
            fetcher.finished(model).ok_or_else(missing)?;
            if fetcher.verify(model)? { Vec::new() } else { vec![model.file_name.to_owned()] }
        }
        Known::Hub(name) => {
            let repository = fetcher.hub_cache()?.repository(&name.repository);
            let Cached::Complete { snapshot, files, .. } = fetcher.cached(&name)? else { return Err(missing().into()) };
            fetcher.verify_repository(&repository, &snapshot, &files)?
        }
    };
    if damaged.is_empty() {
        context.notice(&format!("{}: every file has the right hash", named.name));
        return answer(named, "", &Outcome { damaged: Some(damaged), ..outcome(named) });
    }
    answer(named, "", &Outcome { damaged: Some(damaged.clone()), ..outcome(named) })?;
    Err(Damaged { name: named.name.clone(), files: damaged.join(", ") }.into())
}

fn remove(context: &Context, fetcher: &Fetcher<'_>, named: &Named) -> Result<(), CommandError> {
    let (removed, left) = match known(context, &named.name)? {
        Known::Catalogue(model) => (fetcher.remove(model)?, fetcher.finished(model)),
        Known::Hub(name) => (fetcher.remove_repository(&name)?, None),
    };
    let name = &named.name;
    context.notice(&match removed {
        Removed::File(size) => format!("removed {name} ({})", bytes(size)),
        Removed::Leftovers => format!("removed an unfinished download of {name}"),
        Removed::Nothing => format!("{name} was not on this machine"),
    });
    if let Some(left) = left {
        context.notice(&format!("the hub's cache has a copy, which stays: {}", left.display()));
    }
    let size = if let Removed::File(size) = removed { size } else { 0 };
    answer(named, "", &Outcome { removed_bytes: Some(size), ..outcome(named) })
}

/// Where the model is on this machine.
fn here(context: &Context, fetcher: &Fetcher<'_>, named: &Named) -> Result<PathBuf, CommandError> {
    let missing = || NotFetched(named.name.clone()).into();
    match known(context, &named.name)? {
        Known::Catalogue(model) => fetcher.finished(model).ok_or_else(missing),
        Known::Hub(name) => match fetcher.cached(&name) {
            Ok(Cached::Complete { path, .. }) => Ok(path),
            Ok(Cached::Missing(_)) => Err(missing()),
            Err(error) => Err(FetchError::into(error)),
        },
    }
}

/// A model is known but not here.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not on this machine: fetch it with `parhelion models pull {0}`")]
pub struct NotFetched(String);

/// Files of a model were damaged.
#[derive(Debug, thiserror::Error)]
#[error("{name}: damaged, and removed: {files}; fetch what is missing with `parhelion models pull {name}`")]
pub struct Damaged {
    name: String,
    files: String,
}
