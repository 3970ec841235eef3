//! The consumer group: members, who has which partition, and what each member has not heard yet. A member that the group
//! has given up goes on until it hears of it.

use std::collections::VecDeque;

use super::message::PARTITIONS;

/// Processes with a Syncer.
pub const MEMBERS: usize = 2;

/// A set of partitions.
pub type Set = u8;

/// What a member is to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum News {
    /// These are its own now.
    Assigned(Set),
    /// The group wants these back.
    Revoking(Set),
    /// These were taken without asking.
    Lost(Set),
}

/// A member.
#[derive(Clone, Debug, Default, Hash)]
pub struct Member {
    is_in: bool,
    /// What the group counts as its own.
    owned: Set,
    /// What it was asked to give back.
    asked: Set,
    /// What it has not heard yet.
    pub news: VecDeque<News>,
}

/// The group.
#[derive(Clone, Debug, Default, Hash)]
pub struct Group {
    members: [Member; MEMBERS],
    target: [usize; PARTITIONS],
    /// Committed offsets.
    pub committed: [Option<i64>; PARTITIONS],
}

/// The partitions of a set.
pub fn each(set: Set) -> impl Iterator<Item = usize> {
    (0..PARTITIONS).filter(move |partition| set & (1 << partition) != 0)
}

impl Group {
    /// A member, to be told its news.
    pub const fn member(&mut self, who: usize) -> &mut Member {
        &mut self.members[who]
    }

    /// True where the member has something to hear.
    #[must_use]
    pub fn has_news(&self, who: usize) -> bool {
        !self.members[who].news.is_empty()
    }

    /// What the member has not heard yet.
    #[must_use]
    pub const fn news(&self, who: usize) -> &VecDeque<News> {
        &self.members[who].news
    }

    /// True where the group counts the partition as this member's.
    #[must_use]
    pub const fn owns(&self, who: usize, partition: usize) -> bool {
        self.members[who].is_in && self.members[who].owned & (1 << partition) != 0
    }

    /// True while it is a member.
    #[must_use]
    pub const fn is_in(&self, who: usize) -> bool {
        self.members[who].is_in
    }

    /// A member joins, or joins anew.
    pub fn join(&mut self, who: usize) {
        self.members[who] = Member { is_in: true, ..Member::default() };
        self.balance();
    }

    /// A member leaves, or its consumer dies.
    pub fn leave(&mut self, who: usize) {
        self.members[who] = Member::default();
        self.balance();
    }

    /// The session of a member ends, of which it hears later; then it is in again.
    pub fn evict(&mut self, who: usize) {
        let member = &mut self.members[who];
        let lost = member.owned;
        member.news.retain(|news| matches!(news, News::Lost(_)));
        (member.is_in, member.owned, member.asked) = (false, 0, 0);
        member.news.push_back(News::Lost(lost));
        self.balance();
    }

    /// The member has heard that it was given up, and is in again.
    pub fn rejoin(&mut self, who: usize) {
        if !self.members[who].is_in {
            self.members[who].is_in = true;
            self.balance();
        }
    }

    /// The member gives these back.
    pub fn confirm(&mut self, who: usize, set: Set) {
        let member = &mut self.members[who];
        member.owned &= !set;
        member.asked &= !set;
        self.hand_out();
    }

    /// One partition is to go to another member.
    pub fn shift(&mut self, partition: usize) {
        let before = self.target[partition % PARTITIONS];
        let others = (0..MEMBERS).filter(|who| *who != before && self.members[*who].is_in);
        if let Some(other) = others.into_iter().next() {
            self.target[partition % PARTITIONS] = other;
            self.hand_out();
        }
    }

    fn balance(&mut self) {
        let inside: Vec<usize> = (0..MEMBERS).filter(|who| self.members[*who].is_in).collect();
        for (partition, target) in self.target.iter_mut().enumerate() {
            if let Some(index) = partition.checked_rem(inside.len()) {
                *target = inside[index];
            }
        }
        self.hand_out();
    }

    /// Asks back what somebody else is to have, and gives what nobody has.
    fn hand_out(&mut self) {
        let owned = self.members.iter().fold(0, |all, member| all | member.owned);
        for (who, member) in self.members.iter_mut().enumerate().filter(|(_, member)| member.is_in) {
            let wanted = each(Set::MAX).filter(|it| self.target[*it] == who).fold(0, |set, it| set | 1 << it);
            let back = member.owned & !wanted;
            if back != 0 && member.asked == 0 {
                member.asked = back;
                member.news.push_back(News::Revoking(back));
            }
            let free = wanted & !owned;
            if free != 0 {
                member.owned |= free;
                member.news.push_back(News::Assigned(free));
            }
        }
    }
}
