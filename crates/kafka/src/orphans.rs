//! Partitions that no member of the consumer group serves.
//!
//! A cooperative rebalance has two rounds. The first takes partitions from one member; the second begins when that member
//! has given them back, and gives them to another. A static member that is killed in between and comes back within its
//! session gets its last assignment again, without a rebalance (KIP-345). The group has forgotten then that a second round
//! is due, and no member has the partitions until the group changes for another reason. No client reports this. So each
//! member looks. One that has found partitions without a member for long leaves the group explicitly and joins anew; the
//! rebalance that follows gives them out.

mod protocol;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;
use rdkafka::groups::GroupInfo;

use crate::rebalance::GroupClient;
use crate::settings::ConsumerSettings;
use crate::stranded::{self, Stranded};
use protocol::{assigned, subscribed};

/// How often a member looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The longest that one answer may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// Partitions stay without a member this much longer than a revocation may take before a member acts: a second round may
/// be on its way that long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Each further member acts this much later: one is enough.
const STAGGER: Duration = Duration::from_secs(15);
/// How long a group whose members and partitions have not changed counts as whole without another look at its topics,
/// which may have grown.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);
/// Orphans that a message names.
const NAMED_MAX: usize = 5;

/// A member of the group, as the broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    /// The name that the broker gave it: a static member's is its instance name, a dash and a UUID.
    id: String,
    topics: Vec<String>,
    assigned: Vec<(String, i32)>,
}

/// Partitions that no member serves, as one member of the group has found them.
#[derive(Debug, PartialEq, Eq)]
struct Orphans {
    partitions: Vec<(String, i32)>,
    /// The member's turn to act: those that serve least come first.
    turn: u32,
}

/// Looks at the group every [`LOOK_EVERY`] until the client's own thread ends. Has the client leave where partitions stay
/// without a member, or where it has lost its brokers.
pub(crate) fn look_out(
    client: &Weak<GroupClient>,
    ended: &Receiver<()>,
    settings: &ConsumerSettings,
    revocation_deadline: Duration,
) {
    let (group, topic) = (&*settings.group, settings.named_topic());
    let (mut since, mut whole, mut stranded) = (None, None, Stranded::default());
    while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        let Some(client) = client.upgrade() else { return };
        let looked = look(&client, group, &settings.instance, &mut whole);
        if looked.is_ok() || client.fetch_metadata(topic, LOOK_TIMEOUT).is_ok() {
            stranded.served();
        } else if stranded.is_certain(&settings.connection, topic) {
            client.context().leave_for(stranded::WORDS.to_owned());
            return;
        }
        match looked {
            Ok(Some(orphans)) => {
                let since: Instant = *since.get_or_insert_with(Instant::now);
                if since.elapsed() >= revocation_deadline + PATIENCE + STAGGER * orphans.turn {
                    client.context().leave_for(words(&orphans.partitions, since.elapsed()));
                    return;
                }
            }
            Ok(None) => since = None,
            Err(error) => {
                tracing::debug!(%error, group, "the group could not be looked at; another look follows");
            }
        }
    }
}

fn words(partitions: &[(String, i32)], age: Duration) -> String {
    let named: Vec<String> =
        partitions.iter().take(NAMED_MAX).map(|(topic, number)| format!("{topic}/{number}")).collect();
    let more = partitions.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "no member of the group has been given {}{more} for {} s, as after a crash in the middle of a rebalance; \
         this one leaves and joins anew, which has them given out",
        named.join(", "),
        age.as_secs()
    )
}

/// The members of a group that was seen to serve everything, and when.
type Whole = Option<(Vec<Member>, Instant)>;

fn look(
    client: &GroupClient,
    group: &str,
    instance: &str,
    whole: &mut Whole,
) -> KafkaResult<Option<Orphans>> {
    let groups = client.fetch_group_list(Some(group), LOOK_TIMEOUT)?;
    let Some(members) = groups.groups().iter().find(|found| found.name() == group).and_then(members) else {
        return Ok(None);
    };
    if whole.as_ref().is_some_and(|(seen, at)| *seen == members && at.elapsed() < WHOLE_WITHIN) {
        return Ok(None);
    }
    let topics: BTreeSet<&str> = members.iter().flat_map(|it| &it.topics).map(String::as_str).collect();
    // One answer for all of them: a request for each of some hundred topics would be a load of its own.
    let only = if topics.len() == 1 { topics.first().copied() } else { None };
    let metadata = client.fetch_metadata(only, LOOK_TIMEOUT)?;
    let sizes = metadata
        .topics()
        .iter()
        .filter(|topic| topics.contains(topic.name()))
        .map(|topic| (topic.name().to_owned(), i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX)))
        .collect();
    let found = orphans(&members, &sizes, instance);
    *whole = if found.is_none() { Some((members, Instant::now())) } else { None };
    Ok(found)
}

/// The members of a group that is in no rebalance; `None` where it is, or where a description cannot be read.
fn members(group: &GroupInfo) -> Option<Vec<Member>> {
    if group.state() != "Stable" || group.protocol_type() != "consumer" {
        return None;
    }
    let read = |member: &rdkafka::groups::GroupMemberInfo| {
        Some(Member {
            id: member.id().to_owned(),
            topics: subscribed(member.metadata()?)?,
            assigned: member.assignment().map_or(Some(Vec::new()), assigned)?,
        })
    };
    group.members().iter().map(read).collect()
}

/// The partitions without a member; `None` where there are none, or where this process is no member.
fn orphans(members: &[Member], sizes: &BTreeMap<String, i32>, instance: &str) -> Option<Orphans> {
    let served: BTreeSet<(&str, i32)> =
        members.iter().flat_map(|it| &it.assigned).map(|(topic, number)| (topic.as_str(), *number)).collect();
    let all = sizes.iter().flat_map(|(topic, size)| (0..*size).map(move |number| (topic, number)));
    let partitions: Vec<(String, i32)> = all
        .filter(|(topic, number)| !served.contains(&(topic.as_str(), *number)))
        .map(|(topic, number)| (topic.clone(), number))
        .collect();
    if partitions.is_empty() {
        return None;
    }
    let mut order: Vec<&Member> = members.iter().collect();
    order.sort_by_key(|member| (member.assigned.len(), &member.id));
    let turn = order.iter().position(|member| is_named(&member.id, instance))?;
    Some(Orphans { partitions, turn: u32::try_from(turn).unwrap_or(u32::MAX) })
}

/// True for the name that a broker gives the static member `instance`.
fn is_named(id: &str, instance: &str) -> bool {
    const UUID_LEN: usize = 36;
    id.strip_prefix(instance)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|uuid| uuid.len() == UUID_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(instance: &str, assigned: &[i32]) -> Member {
        Member {
            id: format!("{instance}-6d6c1e12-ff22-4a12-996e-5ff71f71d3be"),
            topics: vec!["t".to_owned()],
            assigned: assigned.iter().map(|number| ("t".to_owned(), *number)).collect(),
        }
    }

    fn sizes(size: i32) -> BTreeMap<String, i32> {
        BTreeMap::from([("t".to_owned(), size)])
    }

    #[test]
    fn what_all_members_serve_is_nobodys_orphan() {
        let members = [member("a", &[0, 1]), member("b", &[2])];
        assert_eq!(orphans(&members, &sizes(3), "a"), None);
        assert_eq!(orphans(&members, &sizes(0), "a"), None);
    }

    #[test]
    fn who_serves_least_acts_first_and_a_stranger_never() {
        let members = [member("a", &[0, 1]), member("b", &[]), member("b-z", &[])];
        let turn_of = |instance: &str| orphans(&members, &sizes(3), instance).map(|found| found.turn);
        assert_eq!(["b", "b-z", "a", "c"].map(turn_of), [Some(0), Some(1), Some(2), None]);
        let found = orphans(&members, &sizes(3), "a").unwrap();
        assert_eq!(found.partitions, [("t".to_owned(), 2)]);
    }

    #[test]
    fn the_words_name_a_few() {
        let many: Vec<(String, i32)> = (0..7).map(|number| ("t".to_owned(), number)).collect();
        let words = words(&many, Duration::from_secs(11));
        assert!(words.contains("given t/0, t/1, t/2, t/3, t/4 and 2 more for 11 s"), "{words}");
    }
}
