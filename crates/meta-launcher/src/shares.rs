//! Which waiting jobs get a launch while there is room for some of them: the projects take turns.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

/// What one instance asks for.
#[derive(Debug)]
pub(crate) struct Wish {
    /// Waiting jobs that no launch covers.
    pub(crate) jobs: Vec<WaitingJob>,
    /// Launches that its own limit leaves room for.
    pub(crate) room: u32,
}

/// A waiting job as a launch is asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaitingJob {
    /// Whether a living launch was made for it. Those come later.
    pub(crate) covered: bool,
    pub(crate) id: u64,
    pub(crate) project: u64,
}

/// What one instance gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The jobs of each launch. All but the last have as many as a launch is good for.
    pub(crate) launches: Vec<Vec<u64>>,
    /// Jobs that its own limit leaves out.
    pub(crate) over_own_limit: u64,
    /// Jobs that the limit of all leaves out.
    pub(crate) over_limit_of_all: u64,
    /// Jobs that the limit of their project leaves out.
    pub(crate) over_project_limit: u64,
}

/// What is handed out from tick's begin to end.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Launches that may still be made.
    pub(crate) launches: u32,
    /// Jobs that one launch is good for.
    pub(crate) group_size: u32,
    /// Jobs of a project that may have a launch or a runner at a time.
    pub(crate) per_project: Option<u32>,
    /// How many jobs of each project have one.
    pub(crate) shares: HashMap<u64, u32>,
}

/// Grants launches to instances of equal priority, in the order of `wishes`. The next one is always for a job of the
/// project that has the fewest, and of those the oldest.
pub(crate) fn grant(wishes: &[Wish], budget: &mut Budget) -> Vec<Grant> {
    let mut grants: Vec<Grant> = wishes.iter().map(|_| Grant::default()).collect();
    let mut turns = Turns::new(wishes, budget);
    while let Some((project, index, job)) = turns.next() {
        let (wish, grant) = (&wishes[index], &mut grants[index]);
        if budget.per_project.is_some_and(|limit| turns.share(project) >= limit) {
            grant.over_project_limit += 1;
            continue;
        }
        let made = grant.launches.len() as u32;
        match grant.launches.last_mut() {
            Some(open) if (open.len() as u32) < budget.group_size => open.push(job),
            _ if made >= wish.room => {
                grant.over_own_limit += 1;
                continue;
            }
            _ if budget.launches == 0 => {
                grant.over_limit_of_all += 1;
                continue;
            }
            _ => {
                budget.launches -= 1;
                grant.launches.push(vec![job]);
            }
        }
        turns.granted(project);
    }
    budget.shares = turns.shares;
    grants
}

/// Whose turn it is.
struct Turns {
    queues: BTreeMap<u64, VecDeque<(WaitingJob, usize)>>,
    order: BinaryHeap<Reverse<(u32, u64)>>,
    shares: HashMap<u64, u32>,
}

impl Turns {
    fn new(wishes: &[Wish], budget: &mut Budget) -> Self {
        let mut queues: BTreeMap<u64, Vec<(WaitingJob, usize)>> = BTreeMap::new();
        for (index, wish) in wishes.iter().enumerate() {
            for &job in &wish.jobs {
                queues.entry(job.project).or_default().push((job, index));
            }
        }
        let shares = std::mem::take(&mut budget.shares);
        let order = queues
            .keys()
            .map(|&project| Reverse((shares.get(&project).copied().unwrap_or(0), project)))
            .collect();
        let sorted = |mut jobs: Vec<(WaitingJob, usize)>| {
            jobs.sort_unstable();
            VecDeque::from(jobs)
        };
        let queues = queues.into_iter().map(|(project, jobs)| (project, sorted(jobs))).collect();
        Self { queues, order, shares }
    }

    /// The next job, with its project and the index of its wish.
    fn next(&mut self) -> Option<(u64, usize, u64)> {
        loop {
            let Reverse((share, project)) = self.order.pop()?;
            let Some(queue) = self.queues.get_mut(&project) else { continue };
            if share != self.shares.get(&project).copied().unwrap_or(0) {
                // Granted since it was put in.
                self.order.push(Reverse((self.share(project), project)));
                continue;
            }
            let Some((job, index)) = queue.pop_front() else { continue };
            self.order.push(Reverse((share, project)));
            return Some((project, index, job.id));
        }
    }

    fn share(&self, project: u64) -> u32 {
        self.shares.get(&project).copied().unwrap_or(0)
    }

    fn granted(&mut self, project: u64) {
        *self.shares.entry(project).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The launches of each wish `(room, [(job, project)])`, and what the limits left out of all.
    fn check(
        wishes: &[(u32, &[(u64, u64)])],
        (launches, group_size, per_project): (u32, u32, Option<u32>),
        expected: &[&[&[u64]]],
        left: (u64, u64, u64),
    ) {
        let job = |&(id, project)| WaitingJob { covered: false, id, project };
        let wishes: Vec<Wish> = wishes
            .iter()
            .map(|(room, jobs)| Wish { jobs: jobs.iter().map(job).collect(), room: *room })
            .collect();
        let mut budget = Budget { launches, group_size, per_project, shares: HashMap::from([(9, 1)]) };
        let grants = grant(&wishes, &mut budget);
        let made: Vec<Vec<Vec<u64>>> = grants.iter().map(|grant| grant.launches.clone()).collect();
        assert_eq!(made, expected);
        let sum = |of: fn(&Grant) -> u64| grants.iter().map(of).sum::<u64>();
        assert_eq!(
            (sum(|g| g.over_own_limit), sum(|g| g.over_limit_of_all), sum(|g| g.over_project_limit)),
            left
        );
    }

    #[test]
    fn projects_take_turns_and_one_that_has_launches_waits() {
        let jobs: &[(u64, u64)] = &[(1, 1), (2, 1), (3, 1), (4, 2), (5, 9)];
        check(&[(99, jobs)], (3, 1, None), &[&[&[1], &[4], &[2]]], (0, 2, 0));
        check(&[(99, jobs)], (99, 1, Some(1)), &[&[&[1], &[4]]], (0, 0, 3));
    }

    #[test]
    fn the_limit_of_all_is_shared_by_the_instances() {
        check(&[(99, &[(1, 1), (2, 1)]), (99, &[(3, 2)])], (2, 1, None), &[&[&[1]], &[&[3]]], (0, 1, 0));
        check(&[(1, &[(1, 1), (2, 1)]), (99, &[(3, 1)])], (9, 1, None), &[&[&[1]], &[&[3]]], (1, 0, 0));
    }

    #[test]
    fn a_group_is_filled_before_the_next_is_made() {
        check(&[(99, &[(1, 1), (2, 1), (3, 2)])], (9, 2, None), &[&[&[1, 3], &[2]]], (0, 0, 0));
        check(&[(1, &[(1, 1), (2, 1), (3, 2)])], (9, 2, None), &[&[&[1, 3]]], (1, 0, 0));
    }
}
