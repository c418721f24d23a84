module millpond

go 1.24.0
