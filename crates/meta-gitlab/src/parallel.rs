//! Several reads under way at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Requests that are under way at a time. A server far away costs 20 ms and more for each; GitLab itself serves hundreds.
pub(crate) const PARALLEL: usize = 16;

/// Calls `read` for every item on a few threads; the results are in the order of the items.
///
/// Only for requests that change nothing: what has an effect is done one after the other, so that it can be recorded.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], read: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((index, item)) = next_item(items, &next) {
            done.push((index, read(item)));
        }
        done
    };
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let others: Vec<_> = (1..PARALLEL.min(items.len())).map(|_| scope.spawn(work)).collect();
        let mut results = work();
        for other in others {
            results.extend(other.join().expect("a reader returns its errors"));
        }
        results
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn next_item<'a, T>(items: &'a [T], next: &AtomicUsize) -> Option<(usize, &'a T)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    items.get(index).map(|item| (index, item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::{Barrier, Mutex};

    #[test]
    fn results_keep_the_order_of_the_items() {
        for count in [0, 1, 7, 100] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(
                in_parallel(&items, |item| item * 2),
                items.iter().map(|item| item * 2).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn as_many_as_allowed_run_side_by_side() {
        let (all, threads) = (Barrier::new(PARALLEL), Mutex::new(HashSet::new()));
        in_parallel(&[(); PARALLEL], |()| {
            threads.lock().unwrap().insert(thread::current().id());
            all.wait();
        });
        assert_eq!(threads.lock().unwrap().len(), PARALLEL);
    }
}
