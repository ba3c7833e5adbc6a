"""The catalogue of node types: one file per type, with its spec and one async function. Knows neither Ray nor SQL."""
