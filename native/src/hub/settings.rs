//! Where the hub is, who asks, and where its files are kept: the environment variables of the hub's own tools.

use std::path::{Path, PathBuf};

use crate::catalogue::HUB_ENDPOINT;

/// How the hub is reached.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Its address.
    pub endpoint: String,
    /// A bearer token for that address, and for no other.
    pub token: Option<String>,
    /// The directory of its cache; none where this user has no home.
    pub cache: Option<PathBuf>,
    /// Whether nothing is asked of any network.
    pub offline: bool,
}

impl HubSettings {
    /// The settings of this user: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_CACHE`, `HF_HOME` and their like.
    pub fn of_user() -> Self {
        Self::of(&|name| std::env::var(name).ok())
    }

    /// The settings that `variable` gives.
    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let first = |names: &[&str]| names.iter().find_map(|name| text(name));
        let is_on = |name: &str| text(name).is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str()));
        let user = first(&["HOME", "USERPROFILE"]).map(PathBuf::from);
        let expand = |value: String| match (value.strip_prefix("~/"), &user) {
            (Some(rest), Some(user)) => user.join(rest),
            _ => PathBuf::from(value),
        };
        let default_home = || Some(text("XDG_CACHE_HOME").map(expand).or_else(|| Some(user.as_ref()?.join(".cache")))?.join("huggingface"));
        let home = text("HF_HOME").map(expand).or_else(default_home);
        let cache = first(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]).map(expand).or_else(|| Some(home.as_ref()?.join("hub")));
        let token_file = text("HF_TOKEN_PATH").map(expand).or_else(|| Some(home.as_ref()?.join("token")));
        let stored = || token_file.as_deref().filter(|_| !is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN")).and_then(token_in);
        Self {
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| HUB_ENDPOINT.to_owned()).trim_end_matches('/').to_owned(),
            token: first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).or_else(stored),
            cache,
            offline: is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
        }
    }
}

/// The token that the hub's tools keep in `file`.
fn token_in(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> HubSettings {
        HubSettings::of(&|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_cache_is_where_the_hubs_tools_have_it() {
        let cache = |variables: &[(&str, &str)]| settings(variables).cache.unwrap();
        assert_eq!(cache(&[("HOME", "/u")]), Path::new("/u/.cache/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/u"), ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/u"), ("HF_HOME", "~/hf")]), Path::new("/u/hf/hub"));
        assert_eq!(cache(&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")]), Path::new("/old"));
        assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")]), Path::new("/new"));
        assert_eq!(settings(&[]).cache, None);
    }

    #[test]
    fn tokens_come_from_the_environment_then_from_the_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().to_str().unwrap();
        std::fs::write(home.path().join("token"), "stored\n").unwrap();
        std::fs::write(home.path().join("other"), "two\nlines").unwrap();
        let token = |variables: &[(&str, &str)]| settings(&[&[("HF_HOME", path)], variables].concat()).token;
        assert_eq!(token(&[]).as_deref(), Some("stored"));
        assert_eq!(token(&[("HF_TOKEN", " given ")]).as_deref(), Some("given"));
        assert_eq!(token(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert_eq!(token(&[("HF_TOKEN_PATH", "/no/such/file")]), None);
        assert_eq!(token(&[("HF_TOKEN_PATH", home.path().join("other").to_str().unwrap())]), None);
    }

    #[test]
    fn the_network_is_ruled_out_by_the_hubs_switch() {
        assert!(!settings(&[("HF_HUB_OFFLINE", "0")]).offline);
        assert!(settings(&[("HF_HUB_OFFLINE", "1")]).offline && settings(&[("TRANSFORMERS_OFFLINE", "Yes")]).offline);
        assert_eq!(settings(&[("HF_ENDPOINT", "http://mirror:1/")]).endpoint, "http://mirror:1");
    }
}
