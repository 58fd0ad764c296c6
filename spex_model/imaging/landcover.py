"""The land covers that can be asked for, and what people call them."""

LAND_COVERS = ("water", "vegetation", "trees", "buildings", "bare soil")
"""Plain names used everywhere; "trees" is a part of "vegetation"."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "water": (
        "water", "waters", "lake", "lakes", "river", "rivers", "pond", "ponds", "water body", "water bodies", "waterbodies", "waterbody", "open water",
        "sea", "ocean", "reservoir", "reservoirs", "stream", "streams", "creek", "creeks", "canal", "canals", "lagoon", "lagoons", "flood", "flooding",
        "flooded areas", "flooded area", "floodwater", "wasser", "der see", "den see", "die seen", "fluss", "flüsse", "gewässer", "teich", "teiche", "meer",
        "eau", "lac", "lacs", "rivière", "rivières", "étang", "étangs", "fleuve", "mer", "plan d'eau", "plans d'eau",
        "agua", "lago", "lagos", "río", "ríos", "estanque", "estanques", "laguna", "lagunas", "mar", "embalse", "embalses",
        "水", "水体", "水域", "湖泊", "湖", "河流", "河", "池塘",
    ),
    "vegetation": (
        "vegetation", "green areas", "green area", "green space", "green spaces", "greenery", "plants", "plant cover", "everything green", "vegetated areas",
        "grass and trees", "green stuff", "living plants", "green land", "vegetation cover", "pflanzen", "grünflächen", "grünfläche", "alles grüne",
        "végétation", "espaces verts", "plantes", "zones vertes", "vegetación", "zonas verdes", "plantas", "áreas verdes", "植被", "绿地", "植物", "绿色",
    ),
    "trees": (
        "trees", "tree", "forest", "forests", "woods", "wood", "woodland", "woodlands", "tree cover", "wooded areas", "canopy", "tree canopy", "tree crowns",
        "forested areas", "orchard", "orchards", "grove", "groves", "wald", "wälder", "baum", "bäume", "forêt", "forêts", "arbre", "arbres", "bois",
        "bosque", "bosques", "árbol", "árboles", "森林", "树木", "树林", "树",
    ),
    "buildings": (
        "buildings", "building", "house", "houses", "home", "homes", "rooftop", "rooftops", "roof", "roofs", "built-up areas", "built-up area", "built-up land",
        "built up areas", "built up area", "built-up", "town", "towns", "village", "villages", "city", "settlement", "settlements", "urban areas", "urban area",
        "structures", "constructions", "gebäude", "haus", "häuser", "dächer", "siedlung", "siedlungen", "stadt", "dorf", "bâtiment", "bâtiments", "maison",
        "maisons", "toits", "ville", "village", "edificio", "edificios", "casa", "casas", "construcciones", "tejados", "ciudad", "pueblo",
        "建筑", "房屋", "建筑物", "房子", "城镇",
    ),
    "bare soil": (
        "bare soil", "bare ground", "open soil", "bare earth", "exposed earth", "exposed soil", "bare field", "bare fields", "barren land", "dirt", "sand",
        "sandy areas", "open ground", "naked soil", "ploughed fields", "plowed fields", "bare land", "soil", "offener boden", "kahle flächen", "nackter boden",
        "boden", "sand", "sol nu", "sols nus", "terre nue", "suelo desnudo", "tierra desnuda", "suelo", "裸土", "裸地", "土壤",
    ),
}  # fmt: skip
"""Nouns for each land cover in English, German, French, Spanish and Chinese, lower case, without articles."""
