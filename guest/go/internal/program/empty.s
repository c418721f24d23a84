// Lets the function in program.go have no body.
