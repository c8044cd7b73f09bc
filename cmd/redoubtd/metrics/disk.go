package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func diskShelf() shelf[*adminv1.Disk] {
	type disk = *adminv1.Disk
	s := shelf[disk]{prefix: "redoubt_disk_", labels: []string{"group", "role", "disk"}}
	s.gauge("size_bytes", "Size.", func(d disk) (float64, bool) { return known(d.Size) })
	s.gauge("clients", "NBD connections in use.", func(d disk) (float64, bool) { return known(d.Clients) })
	s.gauge("pieces", "Pieces in memory, not yet in the image.", func(d disk) (float64, bool) { return known(d.Figures.Pieces) })
	s.counter("reads_total", "Reads.", func(d disk) uint64 { return d.Figures.Reads })
	s.counter("read_bytes_total", "Bytes read.", func(d disk) uint64 { return d.Figures.ReadBytes })
	s.counter("slow_reads_total", "Reads that waited for the image.", func(d disk) uint64 { return d.Figures.SlowReads })
	s.counter("writes_total", "Writes, as they are journaled.", func(d disk) uint64 { return d.Figures.Writes })
	s.counter("written_bytes_total", "Bytes written.", func(d disk) uint64 { return d.Figures.WriteBytes })
	s.counter("zeroes_total", "Ranges zeroed.", func(d disk) uint64 { return d.Figures.Zeroes })
	s.counter("zeroed_bytes_total", "Bytes zeroed.", func(d disk) uint64 { return d.Figures.ZeroBytes })
	s.counter("trims_total", "Ranges trimmed.", func(d disk) uint64 { return d.Figures.Trims })
	s.counter("trimmed_bytes_total", "Bytes trimmed.", func(d disk) uint64 { return d.Figures.TrimBytes })
	s.counter("flushes_total", "Flushes.", func(d disk) uint64 { return d.Figures.Flushes })
	s.counter("unaligned_writes_total", "Writes that had to read a sector first.", func(d disk) uint64 { return d.Figures.Unaligned })
	s.counter("errors_total", "Requests answered with an error.", func(d disk) uint64 { return d.Figures.Errors })
	s.counter("applied_bytes_total", "Bytes written into the image.", func(d disk) uint64 { return d.Figures.AppliedBytes })
	s.counter("applies_total", "Calls that wrote them.", func(d disk) uint64 { return d.Figures.Applies })
	s.times("read_latency_seconds", "Latency of reads.", func(d disk) *adminv1.Histogram { return d.Figures.ReadLatencyNs })
	s.times("write_latency_seconds", "Latency of writes, zeroes and trims.", func(d disk) *adminv1.Histogram { return d.Figures.WriteLatencyNs })
	s.times("flush_latency_seconds", "Latency of flushes.", func(d disk) *adminv1.Histogram { return d.Figures.FlushLatencyNs })
	return s
}

func streamShelf() shelf[stream] {
	s := shelf[stream]{prefix: "redoubt_ship_", labels: []string{"group", "role", "stream"}}
	s.gauge("connected", "1 while the other site takes the stream.", func(x stream) (float64, bool) { return truth(x.connected) })
	s.gauge("lag_writes", "Writes that the other site has not acknowledged.", func(x stream) (float64, bool) { return known(x.figures.LagWrites) })
	s.gauge("lag_seconds", "Age of the oldest of them, as far as known.", func(x stream) (float64, bool) { return known(x.figures.LagSeconds) })
	s.gauge("link_bytes_per_second", "What the link took lately.", func(x stream) (float64, bool) {
		return x.figures.LinkBytesPerSecond, x.figures.LinkBytesPerSecond > 0
	})
	s.gauge("in_flight_deltas", "Deltas shipped and not acknowledged.", func(x stream) (float64, bool) { return known(x.figures.InFlight) })
	s.counter("deltas_total", "Deltas shipped, repetitions included.", func(x stream) uint64 { return x.figures.Deltas })
	s.counter("raw_bytes_total", "Bytes shipped, before compression.", func(x stream) uint64 { return x.rawBytes })
	s.counter("wire_bytes_total", "Bytes shipped, after compression.", func(x stream) uint64 { return x.bytes })
	s.counter("connects_total", "Streams opened.", func(x stream) uint64 { return x.figures.Connects })
	codec := prometheus.NewDesc(s.prefix+"codec_info", "1; the codec in use is a label.", append(s.labels, "codec"), nil)
	s.figures = append(s.figures, figure[stream]{codec, func(x stream, labels []string, ch chan<- prometheus.Metric) {
		ch <- prometheus.MustNewConstMetric(codec, prometheus.GaugeValue, 1, append(labels[:len(labels):len(labels)], x.figures.Codec)...)
	}})
	return s
}
