package millpond

import (
	"time"

	"millpond/internal/abi"
)

// PoolStats are the counters of a database's pool in the host. Unless the host chose to show the
// whole pool, InUse counts the connections of this request, MaxSize is how many it may hold, and
// the others are 0. The contract documents each in wit/pool.wit.
type PoolStats struct {
	ConnectionsCreated uint64
	ConnectionsReused  uint64
	ConnectionsClosed  uint64
	Hits               uint64
	Misses             uint64
	Idle               int
	MaxSize            int
	InUse              int
	Waiting            int
	Timeouts           uint64
	WaitTime           time.Duration
	RolledBack         uint64
	Discarded          uint64
	Abandoned          uint64
	WritersWaiting     int
	WriterTimeouts     uint64
	WriterWaitTime     time.Duration
	Groups             uint64
	GroupedStatements  uint64
}

// Stats returns the counters of a database's pool. It fails with [KindNotAuthorized] if the host
// shows none.
func Stats(database string) (PoolStats, error) {
	if !inComponent {
		return PoolStats{}, errOutside()
	}
	if err := checkText("the database's name", database); err != nil {
		return PoolStats{}, err
	}
	abi.Begin()
	defer abi.End()
	importStats(text(database), size(database), abi.Result())
	if err := failure(widePayload); err != nil {
		return PoolStats{}, err
	}
	long := func(offset uintptr) uint64 { return abi.U64(widePayload + offset) }
	short := func(offset uintptr) int { return int(abi.U32(widePayload + offset)) }
	return PoolStats{
		ConnectionsCreated: long(0), ConnectionsReused: long(8), ConnectionsClosed: long(16),
		Hits: long(24), Misses: long(32),
		Idle: short(40), MaxSize: short(44), InUse: short(48), Waiting: short(52),
		Timeouts: long(56), WaitTime: time.Duration(long(64)),
		RolledBack: long(72), Discarded: long(80), Abandoned: long(88), WritersWaiting: short(96),
		WriterTimeouts: long(104), WriterWaitTime: time.Duration(long(112)),
		Groups: long(120), GroupedStatements: long(128),
	}, nil
}

// Databases returns the names of the databases that the host granted, in alphabetical order.
func Databases() ([]string, error) {
	if !inComponent {
		return nil, errOutside()
	}
	abi.Begin()
	defer abi.End()
	importDatabases(abi.Result())
	names := make([]string, 0, abi.U32(4))
	for place := range abi.Elements(0, 8) {
		names = append(names, abi.StringAt(place))
	}
	return names, nil
}
