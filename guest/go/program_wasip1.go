package millpond

import _ "millpond/internal/program" // exports the entry point of commands
