// Lets the functions in pin.go have no body.
