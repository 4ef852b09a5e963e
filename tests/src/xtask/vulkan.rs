//! A Vulkan driver for the tests on Linux. macOS and Windows bring Metal and Direct3D 12 and need nothing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{output_of, program};
use crate::report::Outcome;
use crate::system::{Installer, install};

/// What this machine has of Vulkan.
struct Found {
    /// The loader, `libvulkan.so.1`.
    loader: bool,
    /// File names of the drivers' manifests, such as `lvp_icd.x86_64.json`.
    drivers: Vec<String>,
    /// A device node of a graphics card.
    card: bool,
}

impl Found {
    /// Whether a program can expect to get an adapter: a manifest alone does not mean that its card is there.
    fn is_usable(&self) -> bool {
        let software = |name: &str| name.starts_with("lvp_icd") || name.contains("swiftshader");
        let hardware = self.card && self.drivers.iter().any(|name| !software(name));
        self.loader && (hardware || self.drivers.iter().any(|name| software(name)))
    }
}

/// How package managers install Mesa's software driver and the Vulkan loader.
const INSTALLERS: [Installer; 5] = [
    ("apt-get", "apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1", true),
    ("dnf", "dnf install -y mesa-vulkan-drivers vulkan-loader", false),
    ("pacman", "pacman -S --needed vulkan-swrast vulkan-icd-loader", false),
    ("zypper", "zypper install -y libvulkan_lvp libvulkan1", false),
    ("apk", "apk add mesa-vulkan-swrast vulkan-loader", false),
];

/// Makes sure that tests find an adapter, installing a software driver where there is none and we may.
pub(crate) fn need_driver() -> Outcome {
    if !cfg!(target_os = "linux") {
        return Outcome::Passed(format!("{} brings its own graphics interface", env::consts::OS));
    }
    let found = look();
    if found.is_usable() {
        return Outcome::Passed(found.drivers.join(", "));
    }
    let what = "a Vulkan driver (Mesa's lavapipe needs no GPU) and the Vulkan loader";
    if let Err(by_hand) = install(what, &INSTALLERS) {
        return Outcome::Failed(by_hand);
    }
    let found = look();
    if found.is_usable() { Outcome::Passed(found.drivers.join(", ")) } else { Outcome::Failed(format!("install {what}")) }
}

fn look() -> Found {
    let mut drivers: Vec<String> = manifest_folders().iter().flat_map(|folder| names(folder)).collect();
    for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        let files: Vec<PathBuf> = env::var_os(variable).iter().flat_map(env::split_paths).collect();
        let named = files.iter().filter(|file| file.is_file()).filter_map(|file| file.file_name());
        drivers.extend(named.map(|name| name.to_string_lossy().into_owned()));
    }
    drivers.retain(|name| name.ends_with(".json"));
    drivers.sort();
    drivers.dedup();
    let card = names(Path::new("/dev/dri")).iter().any(|name| name.starts_with("renderD"))
        || Path::new("/dev/nvidiactl").exists()
        || Path::new("/dev/dxg").exists();
    Found { loader: has_loader(), drivers, card }
}

/// Where the Vulkan loader looks for manifests.
fn manifest_folders() -> Vec<PathBuf> {
    let list = |variable: &str, default: &str| env::var_os(variable).unwrap_or_else(|| default.into());
    let home = PathBuf::from(env::var_os("HOME").unwrap_or_default());
    let mut bases = vec![PathBuf::from("/etc"), home.join(".local/share"), home.join(".config")];
    for folders in [list("XDG_DATA_DIRS", "/usr/local/share:/usr/share"), list("XDG_CONFIG_DIRS", "/etc/xdg")] {
        bases.extend(env::split_paths(&folders));
    }
    bases.extend(env::var_os("XDG_DATA_HOME").map(PathBuf::from));
    bases.iter().map(|base| base.join("vulkan/icd.d")).collect()
}

/// Whether `libvulkan.so.1` lies where the dynamic linker looks: its cache, its path, or a library folder.
fn has_loader() -> bool {
    const LIBRARY: &str = "libvulkan.so.1";
    let cached = ["ldconfig", "/sbin/ldconfig"]
        .into_iter()
        .any(|ldconfig| output_of(&mut program(ldconfig, &["-p"])).is_some_and(|list| list.contains(LIBRARY)));
    let mut folders: Vec<PathBuf> = env::var_os("LD_LIBRARY_PATH").iter().flat_map(env::split_paths).collect();
    folders.extend(["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib"].map(PathBuf::from));
    cached || folders.iter().any(|folder| folder.join(LIBRARY).exists())
}

/// Names of the entries of a folder; none if it is not there.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::Found;

    fn usable(loader: bool, drivers: &[&str], card: bool) -> bool {
        Found { loader, drivers: drivers.iter().map(|&name| name.to_owned()).collect(), card }.is_usable()
    }

    #[test]
    fn a_driver_is_usable_with_a_loader_and_something_to_drive() {
        assert!(usable(true, &["lvp_icd.x86_64.json"], false));
        assert!(usable(true, &["nvidia_icd.json"], true));
        assert!(!usable(true, &["nvidia_icd.json", "radeon_icd.x86_64.json"], false), "no card for these drivers");
        assert!(!usable(true, &[], true), "a card without a driver");
        assert!(!usable(false, &["lvp_icd.x86_64.json"], true), "no loader");
    }
}
