module shortener

go 1.24.0

tool millpond/componentize

require millpond v0.0.0

replace millpond => ../
