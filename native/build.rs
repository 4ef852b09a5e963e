//! Has the program built anew when the page that it carries changes.

use std::path::Path;

fn main() {
    // Where no page is built, its folder cannot be watched: a path that is missing would make every build start anew.
    let page = Path::new("../web/dist");
    let watched = if page.is_dir() { page } else { Path::new("../web") };
    println!("cargo:rerun-if-changed={}", watched.display());
    println!("cargo:rerun-if-changed=build.rs");
}
