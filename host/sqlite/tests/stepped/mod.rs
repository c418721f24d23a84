//! Runs a thread of a child process from one system call to the next (`ptrace`), so that a test can
//! kill it, or do something else, at each step of what it does.
#![allow(dead_code, reason = "each suite uses a part of it")]
#![expect(
    unsafe_code,
    reason = "system calls; each has arguments of the types that its manual page says"
)]

use std::ffi::c_long;
use std::io::{BufRead, BufReader, Write};
use std::mem::{MaybeUninit, size_of};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::ptr;

use libc::{PTRACE_SYSCALL, c_int, pid_t, ptrace};

/// In the child: let the parent step this thread from now on.
pub(crate) fn be_stepped() {
    // SAFETY: these only affect this thread.
    unsafe {
        let thread = libc::gettid();
        assert_eq!(ptrace(libc::PTRACE_TRACEME), 0);
        println!("\nthread={thread}");
        std::io::stdout().flush().expect("written");
        libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGSTOP);
    }
}

/// A system call that is about to be made, or was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    number: c_long,
    arguments: [u64; 6],
    is_ahead: bool,
}

impl Call {
    /// Whether it is about to create, rename or remove a file.
    pub(crate) fn changes_names(&self) -> bool {
        let numbers = [
            libc::SYS_renameat,
            libc::SYS_renameat2,
            libc::SYS_linkat,
            libc::SYS_unlinkat,
        ];
        self.is_ahead && (numbers.contains(&self.number) || self.creates())
    }

    /// Whether it is about to create a file that must not exist.
    pub(crate) fn creates(&self) -> bool {
        let new = (libc::O_CREAT | libc::O_EXCL) as u64;
        let numbers = [libc::SYS_openat, libc::SYS_openat2];
        self.is_ahead && numbers.contains(&self.number) && self.arguments[2] & new == new
    }

    /// Whether it was made, and may have renamed a file.
    pub(crate) fn renamed(&self) -> bool {
        let numbers = [libc::SYS_renameat, libc::SYS_renameat2];
        !self.is_ahead && numbers.contains(&self.number)
    }

    /// Whether it is about to print.
    pub(crate) fn prints(&self) -> bool {
        self.is_ahead && self.number == libc::SYS_write && self.arguments[0] == 1
    }
}

/// A child process whose thread is stopped.
pub(crate) struct Stepped {
    child: Child,
    thread: pid_t,
    stdout: BufReader<ChildStdout>,
    last: Option<Call>,
}

impl Stepped {
    /// Start a program that calls [`be_stepped`], and wait until it does.
    pub(crate) fn start(command: &mut Command) -> Stepped {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let thread = line_with(&mut stdout, "thread=").parse().expect("a number");
        let stepped = Stepped {
            child,
            thread,
            stdout,
            last: None,
        };
        assert!(stepped.wait(), "it stops");
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
        // SAFETY: the thread is stopped, and this one traces it.
        let set = unsafe { ptrace(libc::PTRACE_SETOPTIONS, thread, 0, options) };
        assert_eq!(set, 0);
        stepped
    }

    /// Run it to the next call that `stops` it. `None` if it ends before.
    pub(crate) fn next(&mut self, stops: impl Fn(&Call) -> bool) -> Option<Call> {
        loop {
            // SAFETY: the thread is stopped, and this one traces it.
            unsafe { ptrace(PTRACE_SYSCALL, self.thread, 0, 0) };
            if !self.wait() {
                return None;
            }
            if let Some(call) = self.call()
                && stops(&call)
            {
                return Some(call);
            }
        }
    }

    /// The call that it has stopped at.
    fn call(&mut self) -> Option<Call> {
        let mut info = MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
        let size = size_of::<libc::ptrace_syscall_info>();
        // SAFETY: as above; there is room for what is written, of which all bytes are a value.
        let info = unsafe {
            let got = ptrace(
                libc::PTRACE_GET_SYSCALL_INFO,
                self.thread,
                size,
                info.as_mut_ptr(),
            );
            assert!(got > 0);
            info.assume_init()
        };
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                // SAFETY: what is written for this kind of stop.
                let entry = unsafe { info.u.entry };
                let (number, mut arguments) = (entry.nr as c_long, entry.args);
                if number == libc::SYS_openat2 {
                    // They are the first field of what this points to.
                    let flags = arguments[2];
                    // SAFETY: as above.
                    arguments[2] = unsafe {
                        ptrace(libc::PTRACE_PEEKDATA, self.thread, flags, 0).cast_unsigned()
                    };
                }
                self.last = Some(Call {
                    number,
                    arguments,
                    is_ahead: true,
                });
                self.last
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => {
                let last = self.last.take()?;
                Some(Call {
                    is_ahead: false,
                    ..last
                })
            }
            _ => None,
        }
    }

    /// Wait until it stops. False if it has ended.
    fn wait(&self) -> bool {
        let mut status: c_int = 0;
        // SAFETY: there is room for the status.
        let waited = unsafe { libc::waitpid(self.thread, &raw mut status, libc::__WALL) };
        waited == self.thread && libc::WIFSTOPPED(status)
    }

    /// Let it run on, and do not step it any more.
    pub(crate) fn release(&self) {
        // SAFETY: the thread is stopped, and this one traces it.
        unsafe { ptrace(libc::PTRACE_DETACH, self.thread, 0, 0) };
    }

    /// Tell the child's other threads something, while this one is stopped.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// What it prints after `answer=`.
    pub(crate) fn answer(&mut self) -> String {
        line_with(&mut self.stdout, "answer=")
    }

    /// Wait until it ends, after its input has ended.
    pub(crate) fn end(mut self) {
        drop(self.child.stdin.take());
        let ended = self.child.wait().expect("it ends");
        assert!(ended.success(), "{ended:?}");
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        // SAFETY: a null pointer is no status. The thread ends first, if it is stopped.
        unsafe { libc::waitpid(self.thread, ptr::null_mut(), libc::__WALL) };
        self.child.wait().expect("ended");
    }
}

/// What follows `before` in the first line that has it.
fn line_with(output: &mut impl BufRead, before: &str) -> String {
    let lines = output.lines().map_while(Result::ok);
    let mut found = lines.filter_map(|line| Some(line.split_once(before)?.1.to_owned()));
    found.next().expect("a line")
}
