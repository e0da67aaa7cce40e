//! The only place that releases the GIL, watches for Ctrl-C, catches panics and owns the thread pool.
//!
//! The calling thread waits while the work runs in the pool; every 50 ms it takes the GIL to look for signals and to
//! tell the caller's progress function. So a fit stops within one block of work after Ctrl-C.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use pyo3::prelude::*;
use rayon::ThreadPool;

use crate::error::{Error, Result};
use crate::kernels;
use crate::task::Task;

const POLL: Duration = Duration::from_millis(50);

/// Runs `work` in the pool without the GIL. `progress` is called with (done, total).
pub fn run<T: Send>(
    py: Python<'_>,
    progress: Option<Py<PyAny>>,
    work: impl FnOnce(&Task) -> Result<T> + Send,
) -> PyResult<T> {
    let pool = pool()?;
    let task = Task::new();
    let tell = |py: Python<'_>| -> PyResult<()> {
        let (done, total) = task.progress();
        match &progress {
            Some(progress) if total > 0 => progress.call1(py, (done.min(total), total)).map(drop),
            _ => Ok(()),
        }
    };
    let (outcome, interrupt) = py.detach(|| {
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let (task, pool) = (&task, &pool);
            scope.spawn(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| pool.install(|| work(task))));
                // the receiver outlives the scope's threads
                let _ = sender.send(outcome);
            });
            let mut interrupt: Option<PyErr> = None;
            loop {
                match receiver.recv_timeout(POLL) {
                    Ok(outcome) => return (Some(outcome), interrupt),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return (None, interrupt),
                    Err(mpsc::RecvTimeoutError::Timeout) if interrupt.is_some() => {}
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        if let Err(error) = Python::attach(|py| py.check_signals().and_then(|()| tell(py))) {
                            task.stop();
                            interrupt = Some(error);
                        }
                    }
                }
            }
        })
    });
    if let Some(interrupt) = interrupt {
        return Err(interrupt);
    }
    match outcome {
        Some(Ok(result)) => {
            let result = result?;
            // a job that ended before its bound (k-means converged) is done all the same
            if let (Some(progress), (_, total @ 1..)) = (&progress, task.progress()) {
                progress.call1(py, (total, total))?;
            }
            Ok(result)
        }
        Some(Err(panic)) => Err(Error::Internal { message: panic_text(&*panic) }.into()),
        None => Err(Error::Internal { message: "the worker vanished".into() }.into()),
    }
}

/// Runs work of about a millisecond on the calling thread, without the GIL: another thread would cost more than the work.
/// Ctrl-C is seen after it. What is run here must not use the pool.
pub fn run_here<T: Send>(py: Python<'_>, work: impl FnOnce(&Task) -> Result<T> + Send) -> PyResult<T> {
    match py.detach(|| catch_unwind(AssertUnwindSafe(|| work(&Task::new())))) {
        Ok(result) => Ok(result?),
        Err(panic) => Err(Error::Internal { message: panic_text(&*panic) }.into()),
    }
}

/// Choose the kernels and the number of threads of everything.
///
/// Args:
///     isa: one of `available_isas()` or "auto"; None leaves the choice as it is.
///     n_threads: threads of the pool; None leaves it (RAYON_NUM_THREADS, else all cores).
///
/// Raises:
///     InvalidInputError: if the name is unknown or the number is 0.
#[pyfunction]
#[pyo3(signature = (*, isa=None, n_threads=None))]
pub fn configure(isa: Option<&str>, n_threads: Option<usize>) -> PyResult<()> {
    if let Some(isa) = isa {
        kernels::choose_isa(isa)?;
    }
    if let Some(n_threads) = n_threads {
        if n_threads == 0 {
            return Err(Error::invalid("n_threads must be at least 1: got 0").into());
        }
        N_THREADS.store(n_threads, Ordering::Relaxed);
    }
    Ok(())
}

/// Names of the instruction sets that the kernels can use on this CPU, slowest first.
#[pyfunction]
pub fn available_isas() -> Vec<&'static str> {
    kernels::available_isas()
}

/// Threads asked for; 0 leaves it to rayon (RAYON_NUM_THREADS, else the number of cores).
static N_THREADS: AtomicUsize = AtomicUsize::new(0);

struct Pool {
    process: u32,
    asked: usize,
    pool: Arc<ThreadPool>,
}

/// The pool of this process: threads do not survive fork, so a forked child gets its own.
pub fn pool() -> Result<Arc<ThreadPool>> {
    static POOL: Mutex<Option<Pool>> = Mutex::new(None);
    let internal = |message: String| Error::Internal { message };
    let mut current = POOL.lock().map_err(|_| internal("the thread pool is poisoned".into()))?;
    let (process, asked) = (std::process::id(), N_THREADS.load(Ordering::Relaxed));
    if let Some(pool) = current.as_ref()
        && pool.process == process
        && pool.asked == asked
    {
        return Ok(pool.pool.clone());
    }
    let built = rayon::ThreadPoolBuilder::new()
        .num_threads(asked)
        .thread_name(|i| format!("lmsys-{i}"))
        .build()
        .map_err(|error| internal(format!("the thread pool cannot be started: {error}")))?;
    let pool = Arc::new(built);
    // the pool of a parent process can't be joined from here: it is leaked, not dropped
    if let Some(old) = current.replace(Pool { process, asked, pool: pool.clone() })
        && old.process != process
    {
        std::mem::forget(old.pool);
    }
    Ok(pool)
}

pub fn n_threads() -> Result<usize> {
    Ok(pool()?.current_num_threads())
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".into())
}
