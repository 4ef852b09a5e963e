//! Dates in prompts.

use std::fmt::Write as _;

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A local date and time, as a calendar and a clock on the wall show it. The program that runs the engine reads the
/// clock; this crate does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CivilTime {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl CivilTime {
    /// A time in the Gregorian calendar: years 1 to 9999, months and days from 1, seconds to 59. `None` where there is
    /// no such date or time.
    pub fn new(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Option<Self> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            2 => 28 + u8::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        let valid = (1..=9999).contains(&year) && (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60;
        valid.then_some(Self { year, month, day, hour, minute, second })
    }

    /// From seconds since 1970-01-01 00:00 of the local clock (UTC seconds plus the zone's offset).
    /// `None` outside the years 1 to 9999.
    pub fn from_unix(seconds: i64) -> Option<Self> {
        let (mut days, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Howard Hinnant's days-to-civil: years begin in March, eras last 400 years.
        days = days.checked_add(719_468)?;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self::new(u16::try_from(year).ok()?, month as u8, day as u8, (clock / 3_600) as u8, (clock / 60 % 60) as u8, (clock % 60) as u8)
    }

    /// Days since Sunday, by Sakamoto's method.
    fn weekday(self) -> usize {
        const OFFSETS: [usize; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
        let year = usize::from(self.year) - usize::from(self.month < 3);
        (year + year / 4 - year / 100 + year / 400 + OFFSETS[usize::from(self.month) - 1] + usize::from(self.day)) % 7
    }

    /// The time by a format of C's `strftime`. `%-d` and the like leave the padding out.
    ///
    /// # Errors
    /// Names a directive that is not known.
    pub(super) fn format(self, format: &str) -> Result<String, String> {
        let mut text = String::new();
        let mut rest = format.chars();
        while let Some(character) = rest.next() {
            if character != '%' {
                text.push(character);
                continue;
            }
            let mut directive = rest.next();
            let padded = directive != Some('-');
            if !padded {
                directive = rest.next();
            }
            self.directive(&mut text, directive, padded)?;
        }
        Ok(text)
    }

    fn directive(self, text: &mut String, directive: Option<char>, padded: bool) -> Result<(), String> {
        let month = MONTHS[usize::from(self.month) - 1];
        let weekday = WEEKDAYS[self.weekday()];
        let hour12 = (self.hour + 11) % 12 + 1;
        let mut number = |value: u16, width: usize| {
            let width = if padded { width } else { 0 };
            // Writing to a string cannot fail.
            let _ = write!(text, "{value:0width$}");
        };
        match directive {
            Some('d') => number(self.day.into(), 2),
            Some('m') => number(self.month.into(), 2),
            Some('Y') => number(self.year, 4),
            Some('y') => number(self.year % 100, 2),
            Some('H') => number(self.hour.into(), 2),
            Some('I') => number(hour12.into(), 2),
            Some('M') => number(self.minute.into(), 2),
            Some('S') => number(self.second.into(), 2),
            Some('e') => text.push_str(&format!("{:2}", self.day)),
            Some('B') => text.push_str(month),
            Some('b' | 'h') => text.push_str(&month[..3]),
            Some('A') => text.push_str(weekday),
            Some('a') => text.push_str(&weekday[..3]),
            Some('p') => text.push_str(if self.hour < 12 { "AM" } else { "PM" }),
            Some('F') => text.push_str(&self.format("%Y-%m-%d")?),
            Some('T') => text.push_str(&self.format("%H:%M:%S")?),
            Some('%') => text.push('%'),
            Some(other) => {
                return Err(format!("strftime_now: the directive %{other} is not known"));
            }
            None => return Err("strftime_now: the format ends in %".to_owned()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_as_strftime_does() {
        let time = CivilTime::new(2024, 2, 9, 0, 5, 7).unwrap();
        assert_eq!(
            time.format("%d %b %Y|%A %a|%B %e|%-d/%-m/%y|%I:%M %p|%F %T|100%%").unwrap(),
            "09 Feb 2024|Friday Fri|February  9|9/2/24|12:05 AM|2024-02-09 00:05:07|100%"
        );
        assert_eq!(time.format("%Q").unwrap_err(), "strftime_now: the directive %Q is not known");
        assert!(time.format("%").is_err() && time.format("%-").is_err());
    }

    #[test]
    fn unix_seconds_become_dates() {
        let date = |seconds| CivilTime::from_unix(seconds).map(|time| time.format("%F %T %a").unwrap());
        assert_eq!(date(0).as_deref(), Some("1970-01-01 00:00:00 Thu"));
        assert_eq!(date(951_782_400).as_deref(), Some("2000-02-29 00:00:00 Tue"));
        assert_eq!(date(1_732_283_999).as_deref(), Some("2024-11-22 13:59:59 Fri"));
        assert_eq!(date(-1).as_deref(), Some("1969-12-31 23:59:59 Wed"));
        assert_eq!([i64::MIN, i64::MAX].map(CivilTime::from_unix), [None, None]);
        assert_eq!(CivilTime::new(2023, 2, 29, 0, 0, 0), None);
    }
}
