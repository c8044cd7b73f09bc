package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"

	"github.com/redoubt-dr/redoubt/admin"
)

// figure is one metric, taken from a message T of the status. collect sends it
// with the values of its labels, or nothing where it is unknown.
type figure[T any] struct {
	desc    *prometheus.Desc
	collect func(from T, labels []string, ch chan<- prometheus.Metric)
}

// shelf makes the figures of one kind of thing: their names share a prefix, and
// they have the same labels.
type shelf[T any] struct {
	prefix  string
	labels  []string
	figures []figure[T]
}

func (s *shelf[T]) value(kind prometheus.ValueType, name, help string, get func(T) (float64, bool)) {
	d := prometheus.NewDesc(s.prefix+name, help, s.labels, nil)
	s.figures = append(s.figures, figure[T]{d, func(from T, labels []string, ch chan<- prometheus.Metric) {
		if v, ok := get(from); ok {
			ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
		}
	}})
}

// gauge adds a figure of the moment; ok is false where it is unknown.
func (s *shelf[T]) gauge(name, help string, get func(T) (v float64, ok bool)) {
	s.value(prometheus.GaugeValue, name, help, get)
}

// counter adds a figure that only grows.
func (s *shelf[T]) counter(name, help string, get func(T) uint64) {
	s.value(prometheus.CounterValue, name, help, func(from T) (float64, bool) { return float64(get(from)), true })
}

// seconds adds a figure that only grows, in seconds.
func (s *shelf[T]) seconds(name, help string, get func(T) float64) {
	s.value(prometheus.CounterValue, name, help, func(from T) (float64, bool) { return get(from), true })
}

// times adds a histogram of nanoseconds, in seconds.
func (s *shelf[T]) times(name, help string, get func(T) *adminv1.Histogram) {
	s.histogram(name, help, get, timeBits, 1e9)
}

// sizes adds a histogram of numbers of things.
func (s *shelf[T]) sizes(name, help string, get func(T) *adminv1.Histogram) {
	s.histogram(name, help, get, sizeBits, 1)
}

// The bounds of the buckets are 2^k-1: the buckets of the histograms that are
// counted lie eight to each of those, so that nothing is shared out by guess.
var (
	timeBits = [2]int{12, 34} // 4.1 us to 17 s
	sizeBits = [2]int{1, 16}  // 1 to 65535
)

func (s *shelf[T]) histogram(name, help string, get func(T) *adminv1.Histogram, bits [2]int, unit float64) {
	d := prometheus.NewDesc(s.prefix+name, help, s.labels, nil)
	s.figures = append(s.figures, figure[T]{d, func(from T, labels []string, ch chan<- prometheus.Metric) {
		h := admin.ToHistogram(get(from))
		bounds := make(map[float64]uint64, bits[1]-bits[0]+1)
		for k := bits[0]; k <= bits[1]; k++ {
			v := uint64(1)<<k - 1
			bounds[float64(v)/unit] = h.Upto(v)
		}
		ch <- prometheus.MustNewConstHistogram(d, h.Count(), float64(h.Sum)/unit, bounds, labels...)
	}})
}
