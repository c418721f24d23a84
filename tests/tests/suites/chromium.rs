//! A headless Chromium with one page, used like a person would: by clicks and keys.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use serde_json::{Value, json};

use crate::process::PATIENCE;

/// Chromium's names on different systems.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// The path of Chromium, if installed: from the environment variable `CHROMIUM`, or one of its
/// usual names on the path.
pub(crate) fn installed() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    let mut found = NAMES.iter().flat_map(|name| {
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.into_iter().map(move |folder| folder.join(name))
    });
    found.find(|file| file.is_file())
}

/// A page in its own browser, controlled with the DevTools protocol
/// (<https://chromedevtools.github.io/devtools-protocol/>) through a pair of pipes.
#[derive(Debug)]
pub(crate) struct Page {
    browser: Child,
    commands: Option<ChildStdin>,
    messages: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    /// The errors that the page reported.
    pub(crate) complaints: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Page {
    /// Starts the browser, and opens the page at `url`.
    pub(crate) fn open(chromium: PathBuf, url: &str) -> Page {
        let profile = tempfile::tempdir().expect("a folder");
        let mut browser = Command::new("sh")
            // The browser reads commands from descriptor 3, and writes results to 4.
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"])
            .arg(chromium)
            // Containers often forbid the sandbox; the only page is our own.
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
            ])
            .args([
                "--no-first-run",
                "--no-proxy-server",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let answers = BufReader::new(browser.stdout.take().expect("its answers"));
        let (message, messages) = channel();
        std::thread::spawn(move || {
            for text in answers.split(0).map_while(Result::ok) {
                let _ = message.send(serde_json::from_slice(&text).expect("JSON"));
            }
        });
        let mut page = Page {
            commands: browser.stdin.take(),
            browser,
            messages,
            last_id: 0,
            session: None,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = page.call("Target.attachToTarget", attach);
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.load("Page.navigate", json!({"url": url}));
        page
    }

    /// Reloads the page.
    pub(crate) fn reload(&mut self) {
        self.load("Page.reload", json!({}));
    }

    /// Goes back in the history.
    pub(crate) fn back(&mut self) {
        let mut history = self.call("Page.getNavigationHistory", json!({}));
        let current = history["currentIndex"].as_u64().expect("an index");
        let before = current.checked_sub(1).expect("an entry before") as usize;
        let entry = history["entries"][before]["id"].take();
        self.call("Page.navigateToHistoryEntry", json!({"entryId": entry}));
    }

    /// Disconnects the page from its server, or reconnects it.
    pub(crate) fn offline(&mut self, offline: bool) {
        self.call("Network.enable", json!({}));
        let conditions = json!({
            "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        });
        self.call("Network.emulateNetworkConditions", conditions);
    }

    /// Prefers `light` or `dark` colours.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Gives the page this size, as of a phone.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Focuses the element that matches the selector, and presses Enter.
    #[track_caller]
    pub(crate) fn enter(&mut self, selector: &str) {
        let selector = Value::from(selector).to_string();
        self.until(&format!(
            "document.querySelector({selector})?.checkVisibility()"
        ));
        self.evaluate(&format!("document.querySelector({selector}).focus()"));
        self.press_enter();
    }

    /// Presses Enter on the focused element.
    #[track_caller]
    pub(crate) fn press_enter(&mut self) {
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { "\r" } else { "" };
            self.call(
                "Input.dispatchKeyEvent",
                json!({
                    "type": kind, "key": "Enter", "code": "Enter", "text": text,
                    "windowsVirtualKeyCode": 13,
                }),
            );
        }
    }

    /// Waits until the JavaScript expression is true, and returns its value. Evaluates it again
    /// whenever anything on the page changes, or the focus moves.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) -> Value {
        let script = format!(
            "new Promise((resolve) => {{
                const observer = new MutationObserver(look);
                function look() {{
                    const value = {expression};
                    if (!value) return;
                    observer.disconnect();
                    document.removeEventListener('focusin', look);
                    resolve(value);
                }}
                observer.observe(document, {{
                    subtree: true, childList: true, attributes: true, characterData: true,
                }});
                document.addEventListener('focusin', look);
                look();
            }})"
        );
        self.evaluate(&script)
    }

    /// Clicks in the middle of the element that matches the selector, once it can be clicked.
    #[track_caller]
    pub(crate) fn click(&mut self, selector: &str) {
        let selector = Value::from(selector).to_string();
        self.until(&format!(
            "document.querySelector({selector})?.checkVisibility()"
        ));
        let middle = self.evaluate(&format!(
            "(() => {{
                const element = document.querySelector({selector});
                element.scrollIntoView({{ block: 'center' }});
                const box = element.getBoundingClientRect();
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                return {{ x, y, hit: element.contains(document.elementFromPoint(x, y)) }};
            }})()"
        ));
        assert_eq!(middle["hit"], true, "{selector} is covered");
        for kind in ["mousePressed", "mouseReleased"] {
            let (x, y) = (&middle["x"], &middle["y"]);
            self.call(
                "Input.dispatchMouseEvent",
                json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}),
            );
        }
    }

    /// Clicks into a field, and replaces its text.
    #[track_caller]
    pub(crate) fn write(&mut self, selector: &str, text: &str) {
        self.click(selector);
        let select = json!({"type": "rawKeyDown", "commands": ["selectAll"]});
        self.call("Input.dispatchKeyEvent", select);
        if text.is_empty() {
            let key =
                json!({"type": "rawKeyDown", "key": "Backspace", "commands": ["deleteBackward"]});
            self.call("Input.dispatchKeyEvent", key);
        } else {
            self.call("Input.insertText", json!({"text": text}));
        }
    }

    fn load(&mut self, method: &str, parameters: Value) {
        let started = self.call(method, parameters);
        assert_eq!(started["errorText"], Value::Null);
        loop {
            let message = self.next(method);
            if message["method"] == "Page.loadEventFired" {
                return;
            }
        }
    }

    /// The value of the JavaScript expression, or of its promise.
    #[track_caller]
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", parameters);
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression}");
        answer["result"]["value"].take()
    }

    #[track_caller]
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut command = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        let commands = self.commands.as_mut().expect("a browser");
        commands
            .write_all(format!("{command}\0").as_bytes())
            .expect("a browser that listens");
        let what = command.to_string();
        loop {
            let mut message = self.next(&what);
            if message["id"] == self.last_id {
                assert_eq!(message["error"], Value::Null, "{what}");
                return message["result"].take();
            }
        }
    }

    #[track_caller]
    fn next(&mut self, what: &str) -> Value {
        let message = match self.messages.recv_timeout(PATIENCE) {
            Ok(message) => message,
            Err(error) => panic!(
                "no answer to {what}: {error}; complaints: {:#?}",
                self.complaints
            ),
        };
        let is_complaint = message["method"] == "Runtime.exceptionThrown"
            || message["params"]["entry"]["level"] == "error";
        if is_complaint {
            self.complaints.push(message["params"].clone());
        }
        message
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // The browser exits when its command pipe closes; then its profile can be deleted.
        self.commands.take();
        while !matches!(
            self.messages.recv_timeout(PATIENCE),
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout)
        ) {}
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}
