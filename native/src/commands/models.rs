//! `parhelion models`: the catalogue and the files on this machine.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CommandError, Context, print_json};
use crate::cache::Cache;
use crate::catalogue::{DEFAULT_MODEL, MODELS, Model};
use crate::fetch::Removed;
use crate::model::{ModelName, NameError};
use crate::progress::bytes;

const EXAMPLES: &str = "\
Examples:
  parhelion models                                 what there is
  parhelion models pull smollm2-135m-instruct      fetch and check it
  parhelion models path smollm2-135m-instruct      where its file is
  parhelion models remove smollm2-135m-instruct    free its space

Files are kept in the user's cache directory, or in $PARHELION_CACHE.";

/// List the known models, fetch them and remove them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ModelsOptions {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the models that can be asked for by name
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model, or check the one that is here
    Pull {
        /// A name of the list
        name: String,
    },
    /// Remove a model's file, finished or not
    Remove {
        /// A name of the list
        name: String,
    },
    /// Print the path of a model's file
    Path {
        /// A name of the list
        name: String,
    },
}

#[derive(Serialize)]
struct List<'a> {
    directory: String,
    models: Vec<Entry<'a>>,
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

pub(super) fn run(context: &Context, options: ModelsOptions) -> Result<(), CommandError> {
    let cache = Cache::of_user()?;
    match options.action.unwrap_or(Action::List { json: false }) {
        Action::List { json } => list(&cache, json),
        Action::Pull { name } => pull(context, &cache, catalogue_model(&name)?),
        Action::Remove { name } => remove(context, &cache, catalogue_model(&name)?),
        Action::Path { name } => path(&cache, catalogue_model(&name)?),
    }
}

fn catalogue_model(name: &str) -> Result<&'static Model<'static>, NameError> {
    match ModelName::parse(Some(name)) {
        Ok(ModelName::Catalogue(model)) => Ok(model),
        _ => Err(NameError::Unknown { name: name.to_owned() }),
    }
}

fn list(cache: &Cache, json: bool) -> Result<(), CommandError> {
    let models: Vec<_> = MODELS
        .iter()
        .map(|model| Entry {
            id: model.id,
            title: model.title,
            license: model.license,
            default: model.id == DEFAULT_MODEL,
            bytes: model.bytes,
            sha256: model.sha256,
            path: cache.finished(model).map(|path| path.display().to_string()),
        })
        .collect();
    let directory = cache.models_dir().display().to_string();
    if json {
        return print_json(&List { directory, models });
    }
    let mut out = io::stdout().lock();
    for entry in &models {
        let state = if entry.path.is_some() { "on this machine" } else { "not fetched yet" };
        let size = entry.bytes.map(bytes).unwrap_or_default();
        let default = if entry.default { ", the default" } else { "" };
        writeln!(out, "{}  {size}, {}, {state}{default}\n    {}", entry.id, entry.license, entry.title)?;
    }
    writeln!(out, "\nFiles are kept in {directory}")?;
    Ok(())
}

fn pull(context: &Context, cache: &Cache, model: &Model<'_>) -> Result<(), CommandError> {
    let fetcher = context.fetcher(cache);
    if cache.finished(model).is_some() && !fetcher.verify(model)? {
        context.notice("the file in the cache is damaged: fetching it again");
    }
    let path = fetcher.model(model)?;
    context.notice(&format!("{} is here, its sha256 checked", model.id));
    writeln!(io::stdout(), "{}", path.display())?;
    Ok(())
}

fn remove(context: &Context, cache: &Cache, model: &Model<'_>) -> Result<(), CommandError> {
    context.notice(&match context.fetcher(cache).remove(model)? {
        Removed::File(size) => format!("removed {} ({})", model.id, bytes(size)),
        Removed::Leftovers => format!("removed an unfinished download of {}", model.id),
        Removed::Nothing => format!("{} was not on this machine", model.id),
    });
    Ok(())
}

fn path(cache: &Cache, model: &Model<'_>) -> Result<(), CommandError> {
    let path = cache.finished(model).ok_or_else(|| NotFetched(model.id.to_owned()))?;
    writeln!(io::stdout(), "{}", path.display())?;
    Ok(())
}

/// A model is known but not here.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not on this machine: fetch it with `parhelion models pull {0}`")]
pub struct NotFetched(String);
