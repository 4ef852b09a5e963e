//! The model hub's repositories: how they are called, what they hold, which of their files a model needs, and how
//! they lie in the cache that the hub's own tools share.

mod cache;
mod choose;
mod error;
mod gguf;
mod listing;
mod name;
mod path;
mod settings;

pub(crate) use self::cache::is_commit;
pub use self::cache::{CachedRepository, HubCache, Snapshot};
pub use self::choose::{Choice, Target, choose, shards_of_index};
pub use self::error::{ChoiceError, HubError};
pub(crate) use self::gguf::split_part;
pub use self::listing::{Entry, Listing};
pub use self::name::{HubName, HubNameError, RepositoryId};
pub use self::path::{UnsafePath, check_path, refuse_clashes};
pub use self::settings::HubSettings;
