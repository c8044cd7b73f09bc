package systest

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

// The flags of the judges that run longer behind make.
var (
	judgeSeed   = flag.Uint64("judge.seed", 0, "seed of the judges of failover and of the cluster; 0: of the clock")
	judgeRounds = flag.Int("judge.rounds", 0, "rounds of such a judge; 0: its short version")
	judgeTime   = flag.Duration("judge.time", 0, "time that TestChaos runs; 0: its short version")
	broken      = flag.String("judge.broken", "", "build this broken Redoubt (see breakages): the test must fail")
)

// newSeed is what a judge's random choices come from.
func newSeed() uint64 {
	if *judgeSeed != 0 {
		return *judgeSeed
	}
	return uint64(time.Now().UnixNano())
}

// rounds is what the flag says, or short.
func rounds(short int) int {
	if *judgeRounds > 0 {
		return *judgeRounds
	}
	return short
}

// verdicts are the last words of the judges that ran, printed behind everything
// else.
var verdicts []string

// verdict keeps a judge's last word; what it found is that of the test.
func verdict(t *testing.T, format string, args ...any) {
	t.Helper()
	word := "PASS"
	if t.Failed() {
		word = "FAIL"
	}
	verdicts = append(verdicts, fmt.Sprintf("%s %s: %s", t.Name(), word, fmt.Sprintf(format, args...)))
}

// end prints the verdicts and turns the result of the tests of a broken build
// round: there a judge that sees nothing is the failure.
func end(code int) int {
	for _, v := range verdicts {
		fmt.Println("verdict:", v)
	}
	if *broken == "" {
		return code
	}
	if code == 0 {
		fmt.Fprintf(os.Stderr, "verdict: the judge does not see that %s is broken\n", *broken)
		return 1
	}
	fmt.Printf("verdict: the judge sees that %s is broken\n", *broken)
	return 0
}
