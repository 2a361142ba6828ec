package announce

// State is where a service stands. The zero value is Starting.
type State int

// The states of a service. What is Up is announced, what is Draining or Degraded is announced de-preferred, nothing else is.
const (
	Starting    State = iota // no verdict on its health yet
	Settling                 // up, but not for long enough, or its address is not on the host yet
	Up                       // announced
	Withdrawn                // down: withdrawn, or found down and never announced
	Stopping                 // the agent stops: withdrawn for good
	Draining                 // to be withdrawn: announced de-preferred until the traffic has moved
	Withdrawing              // drained and withdrawn, but not every router was told yet
	Drained                  // withdrawn on request, and every router was told
	Degraded                 // it works, but a remote dependency does not: announced de-preferred
)

// states are all of them, for metrics.
var states = [...]State{Starting, Settling, Up, Withdrawn, Stopping, Draining, Withdrawing, Drained, Degraded}

// String returns the name in lower case, as it stands in journal and metrics.
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
	case Draining:
		return "draining"
	case Withdrawing:
		return "withdrawing"
	case Drained:
		return "drained"
	case Degraded:
		return "degraded"
	default:
		return "invalid"
	}
}

// announcement returns the action that leads to what s announces.
func (s State) announcement() Action {
	switch s {
	case Up:
		return Announce
	case Draining, Degraded:
		return Deprefer
	default:
		return Withdraw
	}
}

// Action is what a Decision asks for. The zero value is None.
type Action int

// The actions of a Decision.
const (
	None Action = iota
	Announce
	Withdraw
	Deprefer
)

var actions = [...]Action{None, Announce, Withdraw, Deprefer}

// String returns "none", "announce", "withdraw" or "deprefer".
func (a Action) String() string {
	switch a {
	case None:
		return "none"
	case Announce:
		return "announce"
	case Withdraw:
		return "withdraw"
	case Deprefer:
		return "deprefer"
	default:
		return "invalid"
	}
}
