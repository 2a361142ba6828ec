package announce

// State is where a service stands. The zero value is Starting.
type State int

// The states of a service. Only what is Up is announced.
const (
	Starting  State = iota // no verdict on its health yet
	Settling               // up, but not for long enough, or its address is not on the host yet
	Up                     // announced
	Withdrawn              // down: withdrawn, or found down and never announced
	Stopping               // the agent stops: withdrawn for good
)

// states are all of them, for metrics.
var states = [...]State{Starting, Settling, Up, Withdrawn, Stopping}

// String returns "starting", "settling", "up", "withdrawn" or "stopping".
func (s State) String() string {
	switch s {
	case Starting:
		return "starting"
	case Settling:
		return "settling"
	case Up:
		return "up"
	case Withdrawn:
		return "withdrawn"
	case Stopping:
		return "stopping"
	default:
		return "invalid"
	}
}

// Action is what a Decision asks for. The zero value is None.
type Action int

// The actions of a Decision.
const (
	None Action = iota
	Announce
	Withdraw
)

var actions = [...]Action{None, Announce, Withdraw}

// String returns "none", "announce" or "withdraw".
func (a Action) String() string {
	switch a {
	case None:
		return "none"
	case Announce:
		return "announce"
	case Withdraw:
		return "withdraw"
	default:
		return "invalid"
	}
}
