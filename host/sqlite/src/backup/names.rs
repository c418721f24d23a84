//! The names of scheduled backups, and which of them to keep; and of what backups are restored
//! over.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// In UTC, so that names sort by time.
const FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// What comes between a file's name and the time when a backup was restored over it.
pub(super) const FORMER: &str = ".before-";

/// Whether `name` is that of a file that a backup was restored over, where `file` is now.
pub(crate) fn is_former(file: &str, name: &str) -> bool {
    let time = name
        .strip_prefix(file)
        .and_then(|rest| rest.strip_prefix(FORMER));
    time.is_some_and(|time| {
        time.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'T' | b'Z' | b'-'))
    })
}

/// A moment as in the name of a file, such as `20261127T184342Z`.
pub(super) fn timestamp(moment: SystemTime) -> String {
    seconds(moment).strftime(FORMAT).to_string()
}

fn seconds(moment: SystemTime) -> DateTime {
    let moment = Timestamp::try_from(moment).unwrap_or(Timestamp::MAX);
    moment.to_zoned(TimeZone::UTC).datetime()
}

/// The name of a backup of the database `stem`.
pub(super) fn name(stem: &str, moment: SystemTime) -> String {
    format!("{stem}-{}.db", timestamp(moment))
}

/// When a backup was made, if `name` is exactly that of a backup of `stem`.
pub(super) fn moment(stem: &str, name: &str) -> Option<DateTime> {
    let rest = name.strip_prefix(stem)?.strip_prefix('-')?;
    let moment = DateTime::strptime(FORMAT, rest.strip_suffix(".db")?).ok()?;
    (format!("{stem}-{}.db", moment.strftime(FORMAT)) == name).then_some(moment)
}

/// The same moment, for a clock.
pub(super) fn to_clock(moment: DateTime) -> Option<SystemTime> {
    let moment = moment.to_zoned(TimeZone::UTC).ok()?;
    Some(moment.timestamp().into())
}

/// How many backups to keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) last: usize,
    pub(super) days: usize,
    pub(super) weeks: usize,
}

impl Keep {
    /// Which of these moments not to keep.
    pub(super) fn surplus(&self, mut moments: Vec<DateTime>) -> Vec<DateTime> {
        moments.sort_unstable_by(|one, other| other.cmp(one));
        let mut kept: HashSet<DateTime> = moments.iter().take(self.last).copied().collect();
        kept.extend(newest_of_each(&moments, self.days, |moment| moment.date()));
        let week = |moment: DateTime| {
            let week = moment.date().iso_week_date();
            (week.year(), week.week())
        };
        kept.extend(newest_of_each(&moments, self.weeks, week));
        moments.retain(|moment| !kept.contains(moment));
        moments
    }
}

/// Of `moments`, the newest first, the first one of each of the first `count` periods.
fn newest_of_each<P: Eq + Hash>(
    moments: &[DateTime],
    count: usize,
    period: impl Fn(DateTime) -> P,
) -> Vec<DateTime> {
    let mut seen = HashSet::new();
    let first = |moment: &&DateTime| seen.insert(period(**moment));
    moments.iter().filter(first).take(count).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_name_is_read_back_and_others_are_not() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_805_022_900);
        assert_eq!(name("app", now), "app-20261127T184342Z.db");
        let found = moment("app", "app-20261127T184342Z.db").expect("a moment");
        assert_eq!(
            name("app", to_clock(found).expect("a moment")),
            name("app", now)
        );
        for other in [
            "app.db",
            "app-20261127T184342Z.db-wal",
            "app-20261127T184342Z (1).db",
            "app-20261127T184342Z.DB",
            "my-app-20261127T184342Z.db",
            "app-2-20261127T184342Z.db",
            "app-20261327T184342Z.db",
            "app-20261127T184360Z.db",
            "app-2026117T184342Z.db",
            ".app-20261127T184342Z.db.part",
        ] {
            assert_eq!(moment("app", other), None, "{other}");
        }
    }

    #[test]
    fn the_last_ones_and_the_newest_of_days_and_weeks_are_kept() {
        let at = |text: &str| DateTime::strptime("%Y-%m-%dT%H", text).expect("a moment");
        // 2026-11-30 is a Monday.
        let all = [
            "2026-11-12T10",
            "2026-11-20T10",
            "2026-11-27T10",
            "2026-11-28T10",
            "2026-11-29T10",
            "2026-11-30T08",
            "2026-11-30T10",
            "2026-12-01T09",
            "2026-12-01T10",
        ];
        let kept = |last, days, weeks| {
            let surplus = Keep { last, days, weeks }.surplus(all.map(at).to_vec());
            let mut kept = all.to_vec();
            kept.retain(|moment| !surplus.contains(&at(moment)));
            kept
        };
        assert_eq!(kept(1, 0, 0), ["2026-12-01T10"]);
        assert_eq!(kept(3, 0, 0), all[6..]);
        assert_eq!(kept(100, 0, 0), all);
        let days = ["2026-11-29T10", "2026-11-30T10", "2026-12-01T10"];
        assert_eq!(kept(1, 3, 0), days);
        let weeks = ["2026-11-20T10", "2026-11-29T10", "2026-12-01T10"];
        assert_eq!(kept(1, 0, 3), weeks);
    }
}
