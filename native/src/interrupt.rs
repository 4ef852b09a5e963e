//! Ctrl-C as a request to stop: the first is for the work at hand, the second ends the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The exit code of a program that was interrupted: 128 + SIGINT.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Counts the interruptions asked for since the last [`Interrupt::clear`]. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    count: Arc<AtomicU32>,
    at_once: Arc<AtomicBool>,
}

/// While it lives, the first Ctrl-C ends the program: for work that cannot stop halfway and has nothing to keep.
#[derive(Debug)]
pub struct AtOnce(Arc<AtomicBool>);

impl Drop for AtOnce {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Interrupt {
    /// An interrupt that Ctrl-C raises. A second Ctrl-C before [`Interrupt::clear`] ends the program at once.
    ///
    /// # Errors
    /// Where the platform refuses a handler, or one is installed already.
    pub fn on_ctrl_c() -> Result<Self, ctrlc::Error> {
        let interrupt = Self::default();
        let raised = interrupt.clone();
        ctrlc::set_handler(move || {
            if raised.raise() > 1 || raised.at_once.load(Ordering::Relaxed) {
                std::process::exit(i32::from(EXIT_INTERRUPTED));
            }
        })?;
        Ok(interrupt)
    }

    /// Lets the first Ctrl-C end the program for as long as what this returns lives.
    pub fn at_once(&self) -> AtOnce {
        self.at_once.store(true, Ordering::Relaxed);
        AtOnce(Arc::clone(&self.at_once))
    }

    /// Asks the work at hand to stop, and returns how often it was asked since the last [`Interrupt::clear`].
    pub fn raise(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Whether the work at hand should stop.
    pub fn is_raised(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Forgets what was asked: new work starts.
    pub fn clear(&self) {
        self.count.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_count_until_cleared() {
        let interrupt = Interrupt::default();
        let seen = interrupt.clone();
        assert!(!seen.is_raised());
        assert_eq!(interrupt.raise(), 1);
        assert_eq!(seen.raise(), 2);
        assert!(interrupt.is_raised());
        seen.clear();
        assert!(!interrupt.is_raised());
    }
}
