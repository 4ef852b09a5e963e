//! parhelion in the browser.
