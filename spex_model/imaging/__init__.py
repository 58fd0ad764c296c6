"""Images as typed values: bands, scenes, indices, regions, masks. numpy and rasterio, never torch."""
