"""What there is to do: what determines each job, and what a finished run still lacks."""
