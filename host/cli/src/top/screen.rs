//! A terminal that shows lines, and reads keys.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

#[cfg(unix)]
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The terminal's other screen. Dropping it shows the first again.
#[derive(Debug)]
pub(super) struct Screen {
    keys: Receiver<u8>,
    /// How the terminal was, if stdin is one.
    #[cfg(unix)]
    before: Option<Termios>,
}

/// Lines and columns if the terminal does not say.
const SIZE: (usize, usize) = (24, 80);

impl Screen {
    pub(super) fn open() -> io::Result<Screen> {
        let (key, keys) = channel();
        std::thread::spawn(move || {
            for byte in io::stdin().lock().bytes().map_while(Result::ok) {
                if key.send(byte).is_err() {
                    return;
                }
            }
        });
        let screen = Screen {
            keys,
            #[cfg(unix)]
            before: keys_alone()?,
        };
        // The other screen, without a cursor.
        put("\x1b[?1049h\x1b[?25l");
        Ok(screen)
    }

    /// Show as many lines as fit, each as far as it fits.
    pub(super) fn show(&self, lines: &[String]) {
        let (height, width) = size();
        let mut text = String::from("\x1b[H");
        for (index, line) in lines.iter().take(height).enumerate() {
            let line: String = line.chars().take(width).collect();
            let end = if index == 0 { "" } else { "\r\n" };
            // Writing to a text cannot fail.
            let _ = write!(text, "{end}{line}\x1b[K");
        }
        text.push_str("\x1b[J");
        put(&text);
    }

    /// The next key, or `None` after that time.
    pub(super) fn key(&self, wait: Duration) -> Option<u8> {
        match self.keys.recv_timeout(wait) {
            Ok(key) => Some(key),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                // Stdin has ended: only a signal can end this.
                std::thread::sleep(wait);
                None
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        put("\x1b[?25h\x1b[?1049l");
        #[cfg(unix)]
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn put(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Read keys at once, without showing them; Ctrl-C too, so that the screen is restored.
#[cfg(unix)]
fn keys_alone() -> io::Result<Option<Termios>> {
    let Ok(before) = tcgetattr(io::stdin()) else {
        return Ok(None);
    };
    let mut alone = before.clone();
    alone.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
    tcsetattr(io::stdin(), OptionalActions::Now, &alone)?;
    Ok(Some(before))
}

#[cfg(unix)]
fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => SIZE,
    }
}

#[cfg(not(unix))]
fn size() -> (usize, usize) {
    SIZE
}
